// SPDX-License-Identifier: MIT
// task_queue: jobs with priorities, deadlines and retries, some of which crash.
#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <map>
#include <span>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <troupe/troupe.hpp>

namespace {

using namespace std::chrono_literals;

struct settings {
  int jobs = 200;
  int workers = 2;
  unsigned seed = 1;
};

enum class kind : std::uint8_t { good, flaky, slow, poison };

struct job {
  int number = 0;
  kind how = kind::good;
  unsigned seed = 0;
};

// A fair coin that a second attempt, in another process, throws anew.
bool bad_luck(const job& j) {
  return (static_cast<unsigned>(::getpid()) * 2654435761u ^ j.seed) % 2 == 0;
}

int work_on(job j) {
  switch (j.how) {
    case kind::flaky:
      if (bad_luck(j))
        ::raise(SIGSEGV);
      break;
    case kind::slow:
      std::this_thread::sleep_for(60s);
      break;
    case kind::poison:
      ::raise(SIGABRT);
      break;
    case kind::good:
      break;
  }
  return j.number * 2;
}

struct tally {
  int done = 0, late = 0, set_aside = 0, failed = 0;
  int sum() const { return done + late + set_aside + failed; }
};

void show_progress(int done, int of) {
  if (::isatty(STDERR_FILENO) == 0)
    return;
  const int width = 40;
  const int filled = width * done / of;
  fmt::print(stderr, "\r[{}{}] {} of {} jobs", std::string(filled, '#'),
             std::string(width - filled, ' '), done, of);
  if (done == of)
    fmt::print(stderr, "\n");
}

int work(troupe::system& sys, const settings& s) {
  troupe::process_pool pool{
    sys,
    {.workers = s.workers, .retries = 8, .quarantine_after = 6, .grace = 20ms}};
  std::vector<troupe::future<int>> futures;
  tally wanted;
  for (int i = 0; i < s.jobs; ++i) {
    job j{i, kind::good, s.seed * 7919u + static_cast<unsigned>(i)};
    if (i % 50 == 13)
      j.how = kind::slow;
    else if (i % 50 == 27)
      j.how = kind::poison;
    else if (i % 10 == 3)
      j.how = kind::flaky;
    wanted.late += j.how == kind::slow;
    wanted.set_aside += j.how == kind::poison;
    // Short ones first: the slow have the lowest priority.
    const auto options = troupe::task_options{
      .deadline = 2s, .priority = j.how == kind::slow ? -1 : 0};
    futures.push_back(
      pool.with(options).submit(troupe::idempotent(troupe::fn<&work_on>), j));
  }
  tally found;
  auto right = true;
  for (auto& f : troupe::as_completed(futures)) {
    try {
      const auto value = f.get();
      ++found.done;
      right = right && value % 2 == 0 && value / 2 < s.jobs;
    } catch (const troupe::timeout&) {
      ++found.late;
    } catch (const troupe::worker_died&) {
      ++found.set_aside;
    } catch (const std::exception& e) {
      ++found.failed;
      fmt::print("{}\n", e.what());
    }
    show_progress(found.sum(), s.jobs);
  }
  const auto stats = pool.stats();
  fmt::print(
    "{} jobs: {} done, {} past their deadline, {} set aside after "
    "killing {} workers each, {} failed\n",
    s.jobs, found.done, found.late, found.set_aside, 6, found.failed);
  fmt::print(
    "{} workers were started, {} of them died, {} attempts were "
    "repeated\n",
    stats.started, stats.crashes, stats.retried);
  const auto quarantine = pool.quarantined();
  if (!quarantine.empty()) {
    const auto& last = quarantine.back();
    auto text = to_string(last.deaths.back());
    fmt::print(
      "the last that was set aside, {} deaths, the last of them:\n"
      "  {}\n",
      last.deaths.size(), text.substr(0, text.find('\n')));
  }
  // A flaky job may have bad luck six times; a good one may not.
  const auto fine = right && found.sum() == s.jobs && found.failed == 0
                    && found.late == wanted.late
                    && found.set_aside >= wanted.set_aside;
  if (!fine)
    fmt::print(stderr, "task_queue: that is not what went in\n");
  return fine ? 0 : 1;
}

} // namespace

int main(int argc, char** argv) {
  return troupe::run(
    argc, argv, [](troupe::system& sys, std::span<char*> args) {
      settings s;
      CLI::App app{
        "task_queue: jobs with priorities, deadlines and retries, some of "
        "which crash.\n\nIt teaches: what a crash costs (one attempt of one "
        "job); that only what is declared\nidempotent is tried again; how a "
        "job that kills its workers is set aside.\nExit codes: 0 every job "
        "ended as it should, 1 not, 2 a bad option."};
      app.add_option("--jobs", s.jobs, "How many")
        ->check(CLI::Range(1, 100'000))
        ->capture_default_str();
      app.add_option("--workers", s.workers, "Processes")
        ->check(CLI::Range(1, 256))
        ->capture_default_str();
      app.add_option("--seed", s.seed, "Of the jobs' luck")
        ->capture_default_str();
      try {
        app.parse(static_cast<int>(args.size()), args.data());
      } catch (const CLI::ParseError& e) {
        return app.exit(e) == 0 ? 0 : 2;
      }
      return work(sys, s);
    });
}
