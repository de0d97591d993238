#!/bin/sh
# SPDX-License-Identifier: MIT
# troupe-bench-erlang: --run-one WORKLOAD WORKERS SIZE...; troupe-bench starts
# this.
[ "$1" = --run-one ] && [ $# -ge 4 ] || { sed -n 's/^# //p' "$0" >&2; exit 2; }
workload=$2 workers=$3
shift 3
exec erl -noshell -noinput +S "$workers:$workers" +P 4000000 +hmqd off_heap \
  -pa "$(dirname "$0")" -run troupe_bench main "$workload" "$@"
