// SPDX-License-Identifier: MIT
// mandelbrot: rows of a picture as tasks of worker processes, with progress.
#include <chrono>
#include <complex>
#include <cstdio>
#include <fstream>
#include <span>
#include <string>
#include <unistd.h>
#include <vector>

#include <CLI/CLI.hpp>
#include <boost/crc.hpp>
#include <fmt/format.h>

#include <troupe/troupe.hpp>

namespace {

constexpr int side_max = 20'000;

struct settings {
  int width = 900, height = 600, depth = 500;
  std::ptrdiff_t workers = troupe::auto_size;
  std::string file = "mandelbrot.png";
  bool check = false;
};

/// A plain struct travels as it is.
struct row {
  int y = 0;
  std::vector<std::uint8_t> rgb;
};

struct picture {
  int width = 0, height = 0, depth = 0;
};

// How soon the point escapes, as a colour.
void colour(int steps, int depth, std::uint8_t* rgb) {
  if (steps == depth) {
    rgb[0] = rgb[1] = rgb[2] = 0;
    return;
  }
  const auto t = static_cast<double>(steps) / depth;
  rgb[0] = static_cast<std::uint8_t>(9 * (1 - t) * t * t * t * 255);
  rgb[1] = static_cast<std::uint8_t>(15 * (1 - t) * (1 - t) * t * t * 255);
  rgb[2] =
    static_cast<std::uint8_t>(8.5 * (1 - t) * (1 - t) * (1 - t) * t * 255);
}

row draw(std::pair<picture, int> what) {
  const auto& [p, y] = what;
  row r{y, std::vector<std::uint8_t>(static_cast<std::size_t>(p.width) * 3)};
  for (int x = 0; x < p.width; ++x) {
    const std::complex<double> c{-2.2 + 3.2 * x / p.width,
                                 -1.1 + 2.2 * y / p.height};
    std::complex<double> z;
    int steps = 0;
    while (steps < p.depth && std::norm(z) <= 4) {
      z = z * z + c;
      ++steps;
    }
    colour(steps, p.depth, &r.rgb[static_cast<std::size_t>(x) * 3]);
  }
  return r;
}

// -- PNG: stored blocks, no compression ---------------------------------------

void put32(std::string& to, std::uint32_t x) {
  for (int shift = 24; shift >= 0; shift -= 8)
    to += static_cast<char>(x >> shift);
}

void add_chunk(std::string& to, const std::string& type,
               const std::string& data) {
  put32(to, static_cast<std::uint32_t>(data.size()));
  boost::crc_32_type crc;
  const auto body = type + data;
  crc.process_bytes(body.data(), body.size());
  to += body;
  put32(to, crc.checksum());
}

std::string as_png(const picture& p, const std::string& rows) {
  std::string head;
  put32(head, static_cast<std::uint32_t>(p.width));
  put32(head, static_cast<std::uint32_t>(p.height));
  head += std::string{"\x08\x02\x00\x00\x00", 5}; // 8 bits, RGB
  std::string packed{"\x78\x01", 2};
  std::uint32_t a = 1;
  std::uint32_t b = 0;
  for (const char c : rows) {
    a = (a + static_cast<std::uint8_t>(c)) % 65'521;
    b = (b + a) % 65'521;
  }
  constexpr std::size_t most = 65'535;
  for (std::size_t at = 0; at < rows.size(); at += most) {
    const auto n = std::min(most, rows.size() - at);
    packed += static_cast<char>(at + n == rows.size());
    for (const auto x : {n, ~n}) {
      packed += static_cast<char>(x & 0xff);
      packed += static_cast<char>((x >> 8) & 0xff);
    }
    packed.append(rows, at, n);
  }
  put32(packed, b << 16 | a);
  std::string png{"\x89PNG\r\n\x1a\n", 8};
  add_chunk(png, "IHDR", head);
  add_chunk(png, "IDAT", packed);
  add_chunk(png, "IEND", {});
  return png;
}

// -- work ---------------------------------------------------------------------

void show_progress(int done, int of) {
  if (::isatty(STDERR_FILENO) == 0 || (done % 8 != 0 && done != of))
    return;
  const int width = 40;
  const int filled = width * done / of;
  fmt::print(stderr, "\r[{}{}] {} of {} rows", std::string(filled, '#'),
             std::string(width - filled, ' '), done, of);
  if (done == of)
    fmt::print(stderr, "\n");
}

int work(troupe::system& sys, const settings& s) {
  std::ofstream out{s.file, std::ios::binary}; // before all the work
  if (!out) {
    fmt::print(stderr, "mandelbrot: can't write {}\n", s.file);
    return 1;
  }
  const picture p{s.width, s.height, s.depth};
  troupe::process_pool pool{sys, {.workers = s.workers}};
  std::vector<std::pair<picture, int>> rows;
  for (int y = 0; y < s.height; ++y)
    rows.emplace_back(p, y);
  const auto line = static_cast<std::size_t>(s.width) * 3 + 1;
  std::string image(line * static_cast<std::size_t>(s.height), '\0');
  const auto began = std::chrono::steady_clock::now();
  int done = 0;
  for (const auto& r : pool.imap_unordered(troupe::fn<&draw>, rows)) {
    std::copy(r.rgb.begin(), r.rgb.end(),
              image.begin()
                + static_cast<std::ptrdiff_t>(
                  line * static_cast<std::size_t>(r.y) + 1));
    show_progress(++done, s.height);
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now()
                                             - began;
  if (done != s.height) {
    fmt::print(stderr, "{} rows went in, {} came out\n", s.height, done);
    return 1;
  }
  if (s.check)
    for (const auto& x : rows)
      if (const auto r = draw(x);
          !std::equal(r.rgb.begin(), r.rgb.end(),
                      image.begin()
                        + static_cast<std::ptrdiff_t>(
                          line * static_cast<std::size_t>(r.y) + 1),
                      [](std::uint8_t u, char c) {
                        return u == static_cast<std::uint8_t>(c);
                      })) {
        fmt::print(stderr, "row {} differs from the one drawn here\n", r.y);
        return 1;
      }
  out << as_png(p, image) << std::flush;
  if (!out) {
    fmt::print(stderr, "mandelbrot: can't write {}\n", s.file);
    return 1;
  }
  fmt::print("{} x {} points in {:.2f} s by {} processes, in {}\n", s.width,
             s.height, took.count(), pool.workers(), s.file);
  return 0;
}

} // namespace

int main(int argc, char** argv) {
  return troupe::run(
    argc, argv, [](troupe::system& sys, std::span<char*> args) {
      settings s;
      CLI::App app{
        "mandelbrot: rows of a picture as tasks of worker processes, with "
        "progress.\n\nIt teaches: imap_unordered gives results as they come; "
        "plain structs travel\nwithout any code.\nExit codes: 0 the picture is "
        "whole, 1 not, 2 a bad option."};
      app.add_option("--width", s.width, "Points")
        ->check(CLI::Range(1, side_max))
        ->capture_default_str();
      app.add_option("--height", s.height, "Points")
        ->check(CLI::Range(1, side_max))
        ->capture_default_str();
      app
        .add_option("--depth", s.depth, "Steps before a point counts as black")
        ->check(CLI::Range(1, 1'000'000))
        ->capture_default_str();
      app.add_option("--workers", s.workers, "Processes; default: usable CPUs")
        ->check(CLI::Range(1, 256));
      app.add_option("--out", s.file, "The PNG file")->capture_default_str();
      app.add_flag("--check", s.check, "Draw each row here too and compare");
      try {
        app.parse(static_cast<int>(args.size()), args.data());
      } catch (const CLI::ParseError& e) {
        return app.exit(e) == 0 ? 0 : 2;
      }
      return work(sys, s);
    });
}
