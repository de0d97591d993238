// SPDX-License-Identifier: MIT
// Classes with serialize() from noise.
#include "fuzz/fuzz.hpp"

#include "troupe/serialize.hpp"

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace {

class account {
public:
  template <class Archive>
  void serialize(Archive& archive) {
    archive(CEREAL_NVP(owner_), cents_, history_, next_);
  }

private:
  std::string owner_;
  long cents_ = 0;
  std::vector<account> history_;
  std::unique_ptr<account> next_;
};

/// A version makes cereal keep a table.
class versioned {
public:
  template <class Archive>
  void serialize(Archive& archive, std::uint32_t const version) {
    archive(number_);
    if (version > 0)
      archive(text_);
  }
  versioned() = default;

private:
  int number_ = 0;
  std::string text_;
};

/// Resizes to what a size tag says, as cereal's own containers do.
class tagged {
public:
  template <class Archive>
  void save(Archive& archive) const {
    archive(
      cereal::make_size_tag(static_cast<cereal::size_type>(items_.size())));
    for (const auto& item : items_)
      archive(item);
  }
  template <class Archive>
  void load(Archive& archive) {
    cereal::size_type size = 0;
    archive(cereal::make_size_tag(size));
    items_.resize(static_cast<std::size_t>(size));
    for (auto& item : items_)
      archive(item);
  }
  tagged() = default;

private:
  std::vector<account> items_;
};

class raw {
public:
  template <class Archive>
  void serialize(Archive& archive) {
    archive(cereal::binary_data(block_, sizeof(block_)), rest_);
  }
  raw() = default;

private:
  char block_[16] = {};
  std::map<std::string, versioned> rest_;
};

template <class T>
void check(std::span<const std::byte> bytes) {
  troupe::wire::reader in{bytes, fuzz::bounds};
  T x{};
  troupe::wire::decode(in, x);
  in.finish();
  troupe::wire::buffer again;
  troupe::wire::writer out{again, fuzz::bounds};
  troupe::wire::encode(out, x);
}

} // namespace

CEREAL_CLASS_VERSION(versioned, 1)

FUZZ(kind, bytes) {
  switch (kind % 4) {
    case 0:
      return check<std::vector<account>>(bytes);
    case 1:
      return check<std::vector<versioned>>(bytes);
    case 2:
      return check<tagged>(bytes);
    default:
      return check<raw>(bytes);
  }
}
