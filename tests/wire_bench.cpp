// SPDX-License-Identifier: MIT
// wire_bench: how fast values turn into bytes and back.
//   meson test --benchmark wire
#include "support/wire.hpp"

#include "troupe/serialize.hpp"
#include "wire/frame.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <map>
#include <string>
#include <vector>

namespace {

using namespace troupe::wire;
using seconds = std::chrono::duration<double>;

struct packed_point { // one block
  double x = 1;
  double y = 2;
  int id = 3;
  int kind = 4;
};

struct loose_point { // has padding
  char kind = 1;
  double x = 2;
  bool on = true;
};

struct person { // has a string
  int id = 1;
  std::string name = "somebody";
  double weight = 70;
};

class classy { // has serialize()
public:
  template <class Archive>
  void serialize(Archive& archive) {
    archive(id_, name_);
  }

private:
  int id_ = 1;
  std::string name_ = "somebody";
};

/// The median of 7 runs, in seconds.
template <class F>
double median(F f) {
  std::vector<double> times;
  for (int i = 0; i < 7; ++i) {
    const auto start = std::chrono::steady_clock::now();
    f();
    times.push_back(seconds(std::chrono::steady_clock::now() - start).count());
  }
  std::nth_element(times.begin(), times.begin() + 3, times.end());
  return times[3];
}

template <class T>
void measure(const char* what, const T& x, double items) {
  buffer bytes;
  const auto encoding = median([&] {
    bytes.clear();
    writer out{bytes};
    encode(out, x);
  });
  T back{};
  const auto decoding = median([&] {
    reader in{bytes.bytes()};
    decode(in, back);
  });
  const auto mib = static_cast<double>(bytes.size()) / (1 << 20);
  std::printf(
    "%-34s %9.2f MiB  encode %8.0f MiB/s %7.2f ns/item  decode "
    "%8.0f MiB/s %7.2f ns/item\n",
    what, mib, mib / encoding, encoding / items * 1e9, mib / decoding,
    decoding / items * 1e9);
}

void measure_frames() {
  constexpr int count = 1'000'000;
  buffer bytes;
  const auto writing = median([&] {
    bytes.clear();
    for (int i = 1; i <= count; ++i) {
      frame_writer frame{bytes,
                         {.kind = frame_kind::call,
                          .call = static_cast<unsigned>(i),
                          .name = 7}};
      encode(frame.payload(), i);
      frame.finish();
    }
  });
  std::size_t seen = 0;
  const auto reading = median([&] {
    frame_decoder decoder;
    auto rest = bytes.bytes();
    while (!rest.empty()) {
      rest = rest.subspan(decoder.push(rest));
      if (decoder.is_ready())
        seen += decoder.take().payload.size();
    }
  });
  const auto viewing = median([&] {
    auto rest = bytes.bytes();
    while (const auto view = next_frame(rest)) {
      seen += view->payload.size();
      rest = rest.subspan(view->size_bytes());
    }
  });
  std::printf("%-34s write %6.1f ns  read %6.1f ns  in place %6.1f ns (%zu)\n",
              "a call with one int, as a frame", writing / count * 1e9,
              reading / count * 1e9, viewing / count * 1e9, seen);
}

} // namespace

int main() {
  constexpr std::size_t doubles = (64u << 20) / sizeof(double);
  constexpr std::size_t million = 1'000'000;
  const std::vector<double> numbers(doubles, 1.5);
  std::vector<double> copy(doubles);
  const auto copying = median([&] {
    std::memcpy(copy.data(), numbers.data(), doubles * sizeof(double));
  });
  std::printf("memcpy of 64 MiB: %.0f MiB/s\n", 64 / copying);
  measure("64 MiB of vector<double>", numbers, doubles);
  measure("1 M structs without padding", std::vector<packed_point>(million),
          million);
  measure("1 M structs with padding", std::vector<loose_point>(million),
          million);
  measure("1 M structs with a string", std::vector<person>(million), million);
  measure("1 M classes with serialize()", std::vector<classy>(million),
          million);
  std::map<int, std::string> map;
  for (int i = 0; i < 100'000; ++i)
    map[i] = "text";
  measure("map of 100 k", map, 100'000);
  measure_frames();
}
