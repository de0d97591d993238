// SPDX-License-Identifier: MIT
// troupe: everything a program needs. CAF is not in it (troupe/caf.hpp is).
#pragma once

#include "troupe/actor.hpp"
#include "troupe/blocking.hpp"
#include "troupe/deadline.hpp"
#include "troupe/error.hpp"
#include "troupe/failure.hpp"
#include "troupe/fn.hpp"
#include "troupe/future.hpp"
#include "troupe/options.hpp"
#include "troupe/placement.hpp"
#include "troupe/ref.hpp"
#include "troupe/run.hpp"
#include "troupe/system.hpp"
#include "troupe/task.hpp"
#include "troupe/thread_pool.hpp"
#include "troupe/version.hpp"
#include "troupe/wait.hpp"
