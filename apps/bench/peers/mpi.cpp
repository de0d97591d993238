// SPDX-License-Identifier: MIT
// troupe-bench-mpi: two processes that talk by MPI. Started like every peer, it
// starts itself again under mpirun. MPI spins while it waits.

#include "run_one.hpp"
#include "sizes.hpp"

#include <mpi.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

using namespace bench;

constexpr int task_tag = 1, result_tag = 2, end_tag = 3;

std::size_t size_of(const MPI_Status& status) {
  int bytes = 0;
  MPI_Get_count(&status, MPI_BYTE, &bytes);
  return static_cast<std::size_t>(bytes);
}

// The other process: a number is answered with trivial(number), anything
// longer with its size.
void serve() {
  std::vector<char> buffer(large_bytes);
  for (;;) {
    MPI_Status status;
    MPI_Recv(buffer.data(), static_cast<int>(buffer.size()), MPI_BYTE, 0,
             MPI_ANY_TAG, MPI_COMM_WORLD, &status);
    if (status.MPI_TAG == end_tag)
      return;
    auto size = size_of(status);
    int x = static_cast<int>(size);
    if (size == sizeof(int)) {
      std::memcpy(&x, buffer.data(), sizeof x);
      x = trivial(x);
    }
    MPI_Send(&x, sizeof x, MPI_BYTE, 0, result_tag, MPI_COMM_WORLD);
  }
}

int call(const void* data, std::size_t bytes) {
  int x = 0;
  MPI_Send(data, static_cast<int>(bytes), MPI_BYTE, 1, task_tag,
           MPI_COMM_WORLD);
  MPI_Recv(&x, sizeof x, MPI_BYTE, 1, result_tag, MPI_COMM_WORLD,
           MPI_STATUS_IGNORE);
  return x;
}

template <class F>
double p50_us(int samples, F once) {
  std::vector<double> us;
  for (int i = 0; i < samples; ++i) {
    stopwatch watch;
    once(i);
    us.push_back(watch.seconds() * 1e6);
  }
  return quantile(std::move(us), 0.5);
}

double round_trip() {
  auto once = [](int i) { expect("a result", call(&i, sizeof i), trivial(i)); };
  p50_us(round_trip_samples / 10, once);
  return p50_us(round_trip_samples, once);
}

figures process_round_trip(const setting&) {
  return {{"process_round_trip", round_trip()}};
}

figures process_ask(const setting&) {
  return {{"process_ask", round_trip()}};
}

figures process_bytes(const setting&) {
  std::vector<char> bytes(large_bytes);
  auto once = [&](int) {
    expect("the size", call(bytes.data(), bytes.size()), large_bytes);
  };
  once(0);
  return {{"process_bytes", p50_us(large_samples, once) / 1e3}};
}

int start_two(char** argv) {
  // Both are on this machine: nothing that would look for others.
  setenv("OMPI_MCA_plm", "isolated", 0);
  setenv("OMPI_MCA_btl", "self,vader", 0);
  std::vector<char*> words;
  for (const char* w : {"mpirun", "-q", "-n", "2", "--allow-run-as-root",
                        "--oversubscribe", "--bind-to", "none"})
    words.push_back(const_cast<char*>(w));
  for (; *argv != nullptr; ++argv)
    words.push_back(*argv);
  words.push_back(nullptr);
  execvp(words[0], words.data());
  std::perror("mpirun");
  return 1;
}

} // namespace

int main(int argc, char** argv) {
  if (std::getenv("OMPI_COMM_WORLD_RANK") == nullptr)
    return start_two(argv);
  static constexpr entry entries[] = {
    {"process_round_trip", process_round_trip},
    {"process_ask", process_ask},
    {"process_bytes", process_bytes}};
  MPI_Init(&argc, &argv);
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  int rc = 0;
  if (rank == 0) {
    rc = run_one(entries, argc, argv);
    MPI_Send(nullptr, 0, MPI_BYTE, 1, end_tag, MPI_COMM_WORLD);
  } else {
    serve();
  }
  MPI_Finalize();
  return rc;
}
