// SPDX-License-Identifier: MIT
// serialize: classes that are not plain structs say what of them travels.
//
//   class account {
//   public:
//     template <class Archive>
//     void serialize(Archive& archive) {
//       archive(owner_, cents_);
//     }
//   private:
//     std::string owner_;
//     long cents_ = 0;
//   };
//
// The convention is that of cereal and Boost, so what was written for them
// works: a member or a free `serialize(archive, x)`, a pair of `save` and
// `load`, `save_minimal` and `load_minimal`, a version as last parameter,
// private ones with `friend class cereal::access`, CEREAL_NVP and base_class.
// The class must be default constructible.
//
// A class that checks itself should do so in `load` or at the end of
// `serialize`: throw, and the message is refused with that error.
//
// This header brings cereal: include it where such classes travel. Plain
// structs and the standard library's types don't need it. For a type that
// only a header of cereal/types knows, include that header and say so:
// `template <> inline constexpr bool troupe::travels_by_cereal<T> = true;`
#pragma once

#include "troupe/detail/wire/archive.hpp"
#include "troupe/sendable.hpp"
