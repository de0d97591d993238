// SPDX-License-Identifier: MIT
// hello: apps/hello.cpp as one writes it in CAF; only its compile time is
// measured. It includes what it uses, which is quicker than caf/all.hpp.

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/atom.hpp>
#include <caf/event_based_actor.hpp>
#include <caf/exec_main.hpp>
#include <caf/scoped_actor.hpp>
#include <caf/stateful_actor.hpp>

#include <iostream>

using add_atom = caf::atom_constant<caf::atom("add")>;
using value_atom = caf::atom_constant<caf::atom("value")>;

struct counter_state {
  int value = 0;
};

caf::behavior counter(caf::stateful_actor<counter_state>* self) {
  return {
    [self](add_atom, int n) { self->state.value += n; },
    [self](value_atom) { return self->state.value; },
  };
}

void caf_main(caf::actor_system& sys) {
  auto c = sys.spawn(counter);
  caf::anon_send(c, add_atom::value, 5);
  caf::scoped_actor self{sys};
  self->request(c, std::chrono::seconds(30), value_atom::value)
    .receive([](int v) { std::cout << v << '\n'; },
             [&](caf::error& e) { std::cerr << sys.render(e) << '\n'; });
  caf::anon_send_exit(c, caf::exit_reason::user_shutdown);
}

CAF_MAIN()
