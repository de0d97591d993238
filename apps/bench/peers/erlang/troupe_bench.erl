%% SPDX-License-Identifier: MIT
%% troupe_bench: the workloads as Erlang processes. The sizes are those of
%% sizes.hpp and savina.hpp, which Erlang can't read: troupe-bench passes them
%% as arguments. A figure is in the unit of its row.
-module(troupe_bench).
-export([main/1]).

main([Workload | Words]) ->
    Sizes = [list_to_integer(W) || W <- Words],
    try
        Found = run(list_to_atom(Workload), Sizes),
        io:format("{\"~s\": ~.9g}~n", [Workload, float(Found)]),
        halt(0)
    catch
        _:Why -> io:format(standard_error, "~p~n", [Why]), halt(1)
    end.

now_ns() -> erlang:monotonic_time(nanosecond).

ms(Start) -> (now_ns() - Start) / 1.0e6.

ns_per(Start, N) -> (now_ns() - Start) / N.

expect(_, Same, Same) -> ok;
expect(What, Found, Wanted) -> throw({What, Found, 'not', Wanted}).

times(0, _) -> ok;
times(N, F) -> F(), times(N - 1, F).

each(First, Last, _) when First > Last -> ok;
each(First, Last, F) -> F(First), each(First + 1, Last, F).

%% Sums N answers of the form {Tag, Number}.
sum(Tag, N) -> sum(Tag, N, 0).
sum(_, 0, Sum) -> Sum;
sum(Tag, N, Sum) -> receive {Tag, X} -> sum(Tag, N - 1, Sum + X) end.

%% Numbers that stay small for Erlang: a sequence of 31 bits.
next(S) -> (S * 1103515245 + 12345) band 16#7fffffff.

busy(Steps) -> busy(Steps, 1, 0).
busy(0, _, Sum) -> Sum;
busy(N, S, Sum) -> busy(N - 1, next(S), Sum + S).

fork_work(X) -> S = math:sin(37.2 + X), S * S.

%% -- our own workloads --------------------------------------------------------

run(ping_pong, [Rounds]) ->
    Ponger = spawn(fun ponger/0),
    Start = now_ns(),
    pinger(Rounds, Ponger),
    ns_per(Start, Rounds);

run(ask_loop, [Asks]) ->
    Server = spawn(fun server/0),
    Start = now_ns(),
    Sum = ask(Asks, Server, 0),
    Found = ns_per(Start, Asks),
    expect(the_last_answer, Sum, Asks),
    Found;

run(many_to_one, [Senders, Each]) ->
    Me = self(),
    Start = now_ns(),
    times(Senders, fun() ->
        spawn(fun() -> each(0, Each - 1, fun(X) -> Me ! {add, X} end) end)
    end),
    Sum = sum(add, Senders * Each),
    Found = ns_per(Start, Senders * Each),
    expect(the_sum, Sum, Senders * (Each * (Each - 1) div 2)),
    Found;

run(skynet, [Leaves]) ->
    Me = self(),
    Start = now_ns(),
    spawn(fun() -> sky(Me, 0, Leaves) end),
    Sum = sum(sum, 1),
    Found = ns_per(Start, 1) / 1.0e9,
    expect(the_sum, Sum, Leaves * (Leaves - 1) div 2),
    Found;

run(spawn, [N]) ->
    Me = self(),
    Start = now_ns(),
    times(N, fun() -> spawn(fun() -> idler(Me) end) ! {add, 1} end),
    N = sum(done, N),
    ns_per(Start, N);

%% One process is the queue; a put is answered when there is room. A tenth of
%% the items, here and in the pipeline: the figure is per item.
run(queue, [Sides, Capacity, All]) ->
    Items = All div 10,
    Me = self(),
    Queue = spawn(fun() -> buffer(Capacity) end),
    Start = now_ns(),
    each(0, Sides - 1, fun(I) ->
        spawn(fun() -> consume(Queue, Me, 0, 0) end),
        spawn(fun() -> produce(I, Sides, Items, Queue, 0), Me ! {put, 0} end)
    end),
    0 = sum(put, Sides),
    Queue ! close,
    Sum = sum(used, Sides),
    Found = ns_per(Start, Items),
    expect(the_sum, Sum, Items * (Items - 1) div 2),
    Found;

run(pipeline, [Stages, All]) ->
    Items = All div 10,
    Me = self(),
    Start = now_ns(),
    First = lists:foldl(fun(_, Next) -> spawn(fun() -> stage(Next) end) end,
                        Me, lists:seq(2, Stages)),
    spawn(fun() -> each(0, Items - 1, fun(I) -> First ! {item, I} end) end),
    Sum = sum(item, Items),
    Found = ns_per(Start, Items),
    expect(the_sum, Sum, Items * (Items - 1) div 2 + Items * (Stages - 1)),
    Found;

%% -- Savina -------------------------------------------------------------------

run(thread_ring, [Actors, Hops]) ->
    Me = self(),
    Start = now_ns(),
    All = [spawn(fun() -> member(I, Me) end) || I <- lists:seq(0, Actors - 1)],
    First = hd(All),
    lists:foldl(fun(Who, Next) -> Who ! {next, Next}, Who end, First,
                lists:reverse(All)),
    First ! {hop, Hops},
    Last = sum(last, 1),
    Found = ms(Start),
    expect(who_had_the_token_last, Last, Hops rem Actors),
    Found;

run(counting, [N]) ->
    Start = now_ns(),
    Counter = spawn(fun() -> counter(0) end),
    times(N, fun() -> Counter ! add end),
    Counter ! {get, self()},
    Count = sum(count, 1),
    Found = ms(Start),
    expect(the_count, Count, N),
    Found;

run(fork_join, [Actors, Messages]) ->
    Me = self(),
    Start = now_ns(),
    All = [spawn(fun() -> forked(Messages, Me, 0, 0) end)
           || _ <- lists:seq(1, Actors)],
    each(0, Messages - 1, fun(X) -> [A ! {work, X} || A <- All] end),
    Sum = sum(done, Actors),
    Found = ms(Start),
    expect(the_messages, Sum, Actors * Messages),
    Found;

run(fork_join_create, [N]) ->
    Me = self(),
    Start = now_ns(),
    each(1, N, fun(X) ->
        spawn(fun() -> forked(1, Me, 0, 0) end) ! {work, X}
    end),
    Sum = sum(done, N),
    Found = ms(Start),
    expect(the_processes, Sum, N),
    Found;

run(chameneos, [Actors, Meetings]) ->
    Me = self(),
    Start = now_ns(),
    Mall = spawn(fun() -> mall(Meetings, none) end),
    each(0, Actors - 1, fun(I) ->
        spawn(fun() -> chameneo(I rem 3, Mall, Me, 0) end)
    end),
    Sum = sum(met, Actors),
    Found = ms(Start),
    expect(who_has_met, Sum, 2 * Meetings),
    Found;

run(big, [Actors, Pings]) ->
    Me = self(),
    Start = now_ns(),
    All = [spawn(fun() -> big_start(I, Actors, Pings, Me) end)
           || I <- lists:seq(1, Actors)],
    Names = list_to_tuple(All),
    [A ! {all, Names} || A <- All],
    Sum = sum(pongs, Actors),
    Found = ms(Start),
    expect(the_pongs, Sum, Actors * Pings),
    Found;

run(bounded_buffer, [Sides, Items, Work, Places]) ->
    Me = self(),
    Start = now_ns(),
    Queue = spawn(fun() -> buffer(Places) end),
    times(Sides, fun() ->
        spawn(fun() -> consume(Queue, Me, 0, Work) end),
        spawn(fun() -> produce(1, 0, Items, Queue, Work), Me ! {put, 0} end)
    end),
    0 = sum(put, Sides),
    Queue ! close,
    Sum = sum(used, Sides),
    Found = ms(Start),
    expect(the_items, Sum, Sides * Items),
    Found;

run(sieve, [Below, Local, Primes]) ->
    Me = self(),
    Start = now_ns(),
    First = spawn(fun() -> prime_filter([2], 1, Local, none, Me) end),
    odd_numbers(3, Below, First),
    Count = sum(primes, 1),
    Found = ms(Start),
    expect(the_primes, Count, Primes),
    Found;

run(quick_sort, [Values, Alone]) ->
    Me = self(),
    rand:seed(exsss, 11),
    All = [rand:uniform(1 bsl 58) || _ <- lists:seq(1, Values)],
    Start = now_ns(),
    spawn(fun() -> Me ! {sorted, quick_sort(All, Alone)} end),
    receive {sorted, Sorted} -> ok end,
    Found = ms(Start),
    expect(what_is_sorted, Sorted, lists:sort(All)),
    Found;

run(n_queens, [Queens, Alone, Solutions]) ->
    Me = self(),
    Start = now_ns(),
    spawn(fun() -> place({0, 0, 0}, 0, Queens, Alone, Me) end),
    Sum = queens_sum(1, 0),
    Found = ms(Start),
    expect(the_solutions, Sum, Solutions),
    Found;

run(fibonacci, [N, Wanted]) ->
    Me = self(),
    Start = now_ns(),
    spawn(fun() -> fibonacci(N, Me) end),
    X = sum(fib, 1),
    Found = ms(Start),
    expect(the_number, X, Wanted),
    Found.

%% -- what the processes do ----------------------------------------------------

ponger() -> receive {ping, From, Left} -> From ! {pong, Left - 1}, ponger() end.

pinger(0, _) -> ok;
pinger(Left, Ponger) ->
    Ponger ! {ping, self(), Left},
    receive {pong, N} -> pinger(N, Ponger) end.

server() -> receive {ask, From, Ref, X} -> From ! {Ref, X + 1}, server() end.

%% As gen_server's call does it, without its monitor.
ask(0, _, X) -> X;
ask(Left, Server, X) ->
    Ref = make_ref(),
    Server ! {ask, self(), Ref, X},
    receive {Ref, Y} -> ask(Left - 1, Server, Y) end.

sky(To, First, 1) -> To ! {sum, First};
sky(To, First, Leaves) ->
    Me = self(),
    Part = Leaves div 10,
    each(0, 9, fun(I) ->
        spawn(fun() -> sky(Me, First + I * Part, Part) end)
    end),
    To ! {sum, sum(sum, 10)}.

idler(To) -> receive {add, X} -> To ! {done, X}, idler(To) end.

%% The queue: its free places, its items, and who waits for an item or for
%% a place.
buffer(Capacity) -> buffer(Capacity, queue:new(), queue:new(), queue:new()).
buffer(Room, Items, Takers, Putters) ->
    receive
        {put, From, X} ->
            case queue:out(Takers) of
                {{value, T}, Rest} ->
                    T ! {item, X},
                    From ! go_on,
                    buffer(Room, Items, Rest, Putters);
                {empty, _} when Room > 0 ->
                    From ! go_on,
                    buffer(Room - 1, queue:in(X, Items), Takers, Putters);
                {empty, _} ->
                    buffer(Room, Items, Takers, queue:in({From, X}, Putters))
            end;
        {take, From} ->
            case queue:out(Items) of
                {empty, _} ->
                    buffer(Room, Items, queue:in(From, Takers), Putters);
                {{value, X}, Rest} ->
                    From ! {item, X},
                    case queue:out(Putters) of
                        {empty, _} -> buffer(Room + 1, Rest, Takers, Putters);
                        {{value, {P, Y}}, Others} ->
                            P ! go_on,
                            buffer(Room, queue:in(Y, Rest), Takers, Others)
                    end
            end;
        close -> closing(Items, Takers)
    end.

closing(Items, Takers) ->
    [T ! closed || T <- queue:to_list(Takers)],
    receive
        {take, From} ->
            case queue:out(Items) of
                {empty, _} -> From ! closed, closing(Items, queue:new());
                {{value, X}, Rest} ->
                    From ! {item, X},
                    closing(Rest, queue:new())
            end
    end.

%% With a step of 0: so many ones.
produce(_, 0, 0, _, _) -> ok;
produce(X, 0, Left, Queue, Work) ->
    true = busy(Work) > 0,
    Queue ! {put, self(), X},
    receive go_on -> produce(X, 0, Left - 1, Queue, Work) end;
produce(X, _, Items, _, _) when X >= Items -> ok;
produce(X, Step, Items, Queue, Work) ->
    Queue ! {put, self(), X},
    receive go_on -> produce(X + Step, Step, Items, Queue, Work) end.

consume(Queue, To, Sum, Work) ->
    Queue ! {take, self()},
    receive
        {item, X} -> true = busy(Work) >= 0, consume(Queue, To, Sum + X, Work);
        closed -> To ! {used, Sum}
    end.

stage(Next) -> receive {item, X} -> Next ! {item, X + 1}, stage(Next) end.

member(Index, End) -> receive {next, Next} -> member(Index, Next, End) end.
member(Index, Next, End) ->
    receive
        {hop, 0} -> End ! {last, Index};
        {hop, Left} -> Next ! {hop, Left - 1}, member(Index, Next, End)
    end.

counter(N) ->
    receive
        add -> counter(N + 1);
        {get, From} -> From ! {count, N}
    end.

forked(0, To, Done, Sum) when Sum > 0 -> To ! {done, Done};
forked(Left, To, Done, Sum) ->
    receive {work, X} -> forked(Left - 1, To, Done + 1, Sum + fork_work(X)) end.

complement(A, A) -> A;
complement(A, B) -> 3 - A - B.

mall(0, Waiting) ->
    case Waiting of
        none -> ok;
        {_, First} -> First ! leave
    end,
    receive {enter, _, Who} -> Who ! leave, mall(0, none) end;
mall(Left, none) -> receive {enter, C, Who} -> mall(Left, {C, Who}) end;
mall(Left, {C, First}) ->
    receive
        {enter, D, Who} ->
            First ! {meet, D},
            Who ! {meet, C},
            mall(Left - 1, none)
    end.

chameneo(Mine, Mall, End, Met) ->
    Mall ! {enter, Mine, self()},
    receive
        {meet, Its} -> chameneo(complement(Mine, Its), Mall, End, Met + 1);
        leave -> End ! {met, Met}
    end.

big_start(Index, Actors, Pings, End) ->
    receive
        {all, Names} ->
            S = ping_one(next(Index), Names, Actors),
            big(S, Names, Actors, Pings, 0, End)
    end.

ping_one(S, Names, Actors) ->
    element((S bsr 8) rem Actors + 1, Names) ! {ping, self()},
    next(S).

big(S, Names, Actors, Pings, Pongs, End) ->
    receive
        {ping, From} ->
            From ! pong,
            big(S, Names, Actors, Pings, Pongs, End);
        pong when Pongs + 1 < Pings ->
            T = ping_one(S, Names, Actors),
            big(T, Names, Actors, Pings, Pongs + 1, End);
        pong ->
            End ! {pongs, Pongs + 1},
            big(S, Names, Actors, Pings, Pongs + 1, End)
    end.

odd_numbers(X, Below, To) when X >= Below -> To ! {done, 0};
odd_numbers(X, Below, To) -> To ! X, odd_numbers(X + 2, Below, To).

is_multiple(_, []) -> false;
is_multiple(X, [P | _]) when X rem P =:= 0 -> true;
is_multiple(X, [_ | Rest]) -> is_multiple(X, Rest).

%% The smallest prime first: it is the one that divides most.
prime_filter(Primes, N, Local, Next, End) ->
    receive
        {done, Count} when Next =:= none -> End ! {primes, Count + N};
        {done, Count} -> Next ! {done, Count + N};
        X ->
            case is_multiple(X, Primes) of
                true -> prime_filter(Primes, N, Local, Next, End);
                false when N < Local ->
                    prime_filter(Primes ++ [X], N + 1, Local, Next, End);
                false when Next =:= none ->
                    Made = spawn(fun() ->
                        prime_filter([X], 1, Local, none, End)
                    end),
                    prime_filter(Primes, N, Local, Made, End);
                false -> Next ! X, prime_filter(Primes, N, Local, Next, End)
            end
    end.

quick_sort(Xs, Alone) when length(Xs) < Alone -> lists:sort(Xs);
quick_sort(Xs, Alone) ->
    Me = self(),
    Pivot = lists:nth(length(Xs) div 2, Xs),
    {Low, Same, High} = split(Xs, Pivot, [], [], []),
    spawn(fun() -> Me ! {low, quick_sort(Low, Alone)} end),
    spawn(fun() -> Me ! {high, quick_sort(High, Alone)} end),
    receive {low, L} -> ok end,
    receive {high, H} -> ok end,
    L ++ Same ++ H.

split([], _, Low, Same, High) -> {Low, Same, High};
split([X | Xs], P, Low, Same, High) when X < P ->
    split(Xs, P, [X | Low], Same, High);
split([X | Xs], P, Low, Same, High) when X > P ->
    split(Xs, P, Low, Same, [X | High]);
split([X | Xs], P, Low, Same, High) ->
    split(Xs, P, Low, [X | Same], High).

%% A process per board until there are so many rows; each says how many it has
%% begun and how many solutions it knows.
place(B, Rows, Queens, Alone, To) when Rows >= Alone ->
    To ! {board, 0, solutions(B, Rows, Queens)};
place({C, L, R}, Rows, Queens, Alone, To) ->
    Next = boards(bnot (C bor L bor R) band (1 bsl Queens - 1), C, L, R),
    [spawn(fun() -> place(B, Rows + 1, Queens, Alone, To) end) || B <- Next],
    To ! {board, length(Next), 0}.

boards(0, _, _, _) -> [];
boards(Free, C, L, R) ->
    Bit = Free band -Free,
    B = {C bor Bit, (L bor Bit) bsl 1, (R bor Bit) bsr 1},
    [B | boards(Free bxor Bit, C, L, R)].

queens_sum(0, Sum) -> Sum;
queens_sum(Open, Sum) ->
    receive {board, Begun, N} -> queens_sum(Open - 1 + Begun, Sum + N) end.

solutions(_, Queens, Queens) -> 1;
solutions({C, L, R}, Rows, Queens) ->
    Free = bnot (C bor L bor R) band (1 bsl Queens - 1),
    tries(Free, C, L, R, Rows, Queens, 0).

tries(0, _, _, _, _, _, Sum) -> Sum;
tries(Free, C, L, R, Rows, Queens, Sum) ->
    Bit = Free band -Free,
    Mask = 1 bsl Queens - 1,
    B = {C bor Bit, ((L bor Bit) bsl 1) band Mask, (R bor Bit) bsr 1},
    tries(Free bxor Bit, C, L, R, Rows, Queens,
          Sum + solutions(B, Rows + 1, Queens)).

fibonacci(N, To) when N =< 2 -> To ! {fib, 1};
fibonacci(N, To) ->
    Me = self(),
    spawn(fun() -> fibonacci(N - 1, Me) end),
    spawn(fun() -> fibonacci(N - 2, Me) end),
    To ! {fib, sum(fib, 2)}.
