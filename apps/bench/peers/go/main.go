// SPDX-License-Identifier: MIT

// troupe-bench-go: the workloads as goroutines that share by channels. The
// sizes are those of sizes.hpp and savina.hpp, which Go can't read: troupe-bench
// passes them as arguments. A figure is in the unit of its row.
package main

import (
	"fmt"
	"math"
	"math/bits"
	"os"
	"runtime"
	"sort"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// ROOM: messages that a channel holds where the program asks for no number.
const room = 1024

type sizes []int

type figures map[string]float64

func expect(what string, found, wanted int) {
	if found != wanted {
		fmt.Fprintf(os.Stderr, "%s is %d, not %d\n", what, found, wanted)
		os.Exit(1)
	}
}

func nsPer(since time.Time, n int) float64 {
	return float64(time.Since(since).Nanoseconds()) / float64(n)
}

func ms(since time.Time) float64 { return nsPer(since, 1) / 1e6 }

// SEQUENCE: the same numbers as in savina.hpp.
type sequence uint64

func newSequence(seed int) sequence {
	return sequence(uint64(seed)*6364136223846793005 + 1442695040888963407)
}

func (s *sequence) next() uint64 {
	*s = *s*6364136223846793005 + 1442695040888963407
	return uint64(*s >> 33)
}

func (s *sequence) below(n int) int { return int(s.next() % uint64(n)) }

func busy(steps int) uint64 {
	s := newSequence(1)
	var x uint64
	for i := 0; i < steps; i++ {
		x += s.next()
	}
	return x
}

func forkWork(x int) float64 {
	s := math.Sin(37.2 + float64(x))
	return s * s
}

// -- our own workloads ----------------------------------------------------------

func pingPong(n sizes) figures {
	ping, pong := make(chan int), make(chan int)
	go func() {
		for left := range ping {
			pong <- left - 1
		}
		close(pong)
	}()
	start := time.Now()
	left := n[0]
	for left > 0 {
		ping <- left
		left = <-pong
	}
	found := nsPer(start, n[0])
	close(ping)
	return figures{"ping_pong": found}
}

func manyToOne(n sizes) figures {
	senders, each := n[0], n[1]
	to := make(chan int, room)
	start := time.Now()
	for i := 0; i < senders; i++ {
		go func() {
			for k := 0; k < each; k++ {
				to <- k
			}
		}()
	}
	sum := 0
	for i := 0; i < senders*each; i++ {
		sum += <-to
	}
	found := nsPer(start, senders*each)
	expect("the sum", sum, senders*(each*(each-1)/2))
	return figures{"many_to_one": found}
}

func sky(to chan int, first, leaves int) {
	if leaves == 1 {
		to <- first
		return
	}
	sums := make(chan int)
	part := leaves / 10
	for i := 0; i < 10; i++ {
		go sky(sums, first+i*part, part)
	}
	sum := 0
	for i := 0; i < 10; i++ {
		sum += <-sums
	}
	to <- sum
}

func skynet(n sizes) figures {
	to := make(chan int)
	start := time.Now()
	go sky(to, 0, n[0])
	sum := <-to
	found := nsPer(start, 1) / 1e9
	expect("the sum", sum, n[0]*(n[0]-1)/2)
	return figures{"skynet": found}
}

func spawn(n sizes) figures {
	var all sync.WaitGroup
	held := make([]chan int, n[0])
	all.Add(n[0])
	start := time.Now()
	for i := range held {
		held[i] = make(chan int, 1)
		go func(mine chan int) {
			for range mine {
				all.Done()
			}
		}(held[i])
		held[i] <- 1
	}
	all.Wait()
	return figures{"spawn": nsPer(start, n[0])}
}

func submitMany(n sizes) figures {
	var all sync.WaitGroup
	var sum int64
	all.Add(n[0])
	start := time.Now()
	for i := 0; i < n[0]; i++ {
		go func(x int) {
			atomic.AddInt64(&sum, int64(x*3+1))
			all.Done()
		}(i)
	}
	all.Wait()
	found := nsPer(start, n[0])
	expect("the sum", int(sum), 3*(n[0]*(n[0]-1)/2)+n[0])
	return figures{"submit_many": found}
}

// Items are handed over one by one.
func queue(n sizes) figures {
	sides, items := n[0], n[2]
	channel := make(chan int, n[1])
	var put sync.WaitGroup
	put.Add(sides)
	sums := make(chan int, sides)
	start := time.Now()
	for i := 0; i < sides; i++ {
		go func() {
			sum := 0
			for x := range channel {
				sum += x
			}
			sums <- sum
		}()
		go func(first int) {
			for x := first; x < items; x += sides {
				channel <- x
			}
			put.Done()
		}(i)
	}
	put.Wait()
	close(channel)
	sum := 0
	for i := 0; i < sides; i++ {
		sum += <-sums
	}
	found := nsPer(start, items)
	expect("the sum", sum, items*(items-1)/2)
	return figures{"queue": found}
}

func pipeline(n sizes) figures {
	stages, items := n[0], n[1]
	first := make(chan int, room)
	last := first
	start := time.Now()
	for i := 1; i < stages; i++ {
		from, to := last, make(chan int, room)
		go func() {
			for x := range from {
				to <- x + 1
			}
			close(to)
		}()
		last = to
	}
	go func() {
		for i := 0; i < items; i++ {
			first <- i
		}
		close(first)
	}()
	sum := 0
	for x := range last {
		sum += x
	}
	found := nsPer(start, items)
	expect("the sum", sum, items*(items-1)/2+items*(stages-1))
	return figures{"pipeline": found}
}

// Tokens hop round rings of so many goroutines.
func actorsScale(n sizes) figures {
	tokens, hops := n[0], n[1]
	found := figures{}
	for _, size := range n[2:] {
		end := make(chan bool, tokens)
		all := make([]chan int, size)
		for i := range all {
			all[i] = make(chan int, tokens)
		}
		for i := range all {
			go func(from, to chan int) {
				for left := range from {
					if left > 0 {
						to <- left - 1
					} else {
						end <- true
					}
				}
			}(all[i], all[(i+1)%size])
		}
		lap := func(messages int) float64 {
			start := time.Now()
			for i := 0; i < tokens; i++ {
				all[size/tokens*i] <- messages / tokens
			}
			for i := 0; i < tokens; i++ {
				<-end
			}
			return nsPer(start, messages)
		}
		lap(size)
		found[fmt.Sprintf("scale_%d", size)] = lap(hops)
		for _, c := range all {
			close(c)
		}
	}
	return found
}

func workers(n sizes) figures {
	pairs, rounds := n[0], n[1]
	found := figures{}
	for _, workers := range n[2:] {
		runtime.GOMAXPROCS(workers)
		var all sync.WaitGroup
		all.Add(pairs)
		start := time.Now()
		for i := 0; i < pairs; i++ {
			ping, pong := make(chan int), make(chan int)
			go func() {
				for left := range ping {
					pong <- left - 1
				}
			}()
			go func() {
				for left := rounds; left > 0; left = <-pong {
					ping <- left
				}
				close(ping)
				all.Done()
			}()
		}
		all.Wait()
		messages := float64(2 * pairs * rounds)
		found[fmt.Sprintf("workers_%d", workers)] =
			messages / nsPer(start, 1) * 1e3
	}
	return found
}

// -- Savina ---------------------------------------------------------------------

func threadRing(n sizes) figures {
	actors, hops := n[0], n[1]
	end := make(chan int)
	first := make(chan int)
	from := first
	start := time.Now()
	for i := 0; i < actors; i++ {
		to := first
		if i < actors-1 {
			to = make(chan int)
		}
		go func(index int, from, to chan int) {
			for left := range from {
				if left == 0 {
					end <- index
					return
				}
				to <- left - 1
			}
		}(i, from, to)
		from = to
	}
	first <- hops
	last := <-end
	found := ms(start)
	expect("who had the token last", last, hops%actors)
	return figures{"thread_ring": found}
}

func counting(n sizes) figures {
	add, result := make(chan bool, room), make(chan int)
	start := time.Now()
	go func() {
		count := 0
		for range add {
			count++
		}
		result <- count
	}()
	for i := 0; i < n[0]; i++ {
		add <- true
	}
	close(add)
	count := <-result
	found := ms(start)
	expect("the count", count, n[0])
	return figures{"counting": found}
}

func forkJoin(n sizes) figures {
	actors, messages := n[0], n[1]
	all := make([]chan int, actors)
	end := make(chan int, actors)
	start := time.Now()
	for i := range all {
		all[i] = make(chan int, room)
		go func(mine chan int) {
			done, sum := 0, 0.0
			for x := range mine {
				sum += forkWork(x)
				done++
			}
			if sum > 0 {
				end <- done
			}
		}(all[i])
	}
	for i := 0; i < messages; i++ {
		for _, to := range all {
			to <- i
		}
	}
	sum := 0
	for _, to := range all {
		close(to)
	}
	for range all {
		sum += <-end
	}
	found := ms(start)
	expect("the messages", sum, actors*messages)
	return figures{"fork_join": found}
}

func forkJoinCreate(n sizes) figures {
	end := make(chan float64, room)
	start := time.Now()
	go func() {
		for i := 0; i < n[0]; i++ {
			go func(x int) { end <- forkWork(x) }(i)
		}
	}()
	count := 0
	for i := 0; i < n[0]; i++ {
		if <-end >= 0 {
			count++
		}
	}
	found := ms(start)
	expect("the goroutines", count, n[0])
	return figures{"fork_join_create": found}
}

type visitor struct {
	colour int
	answer chan int // the other's colour; -1: go home
}

func complement(a, b int) int {
	if a == b {
		return a
	}
	return 3 - a - b
}

func chameneos(n sizes) figures {
	actors, meetings := n[0], n[1]
	mall := make(chan visitor, actors)
	met := make(chan int, actors)
	start := time.Now()
	for i := 0; i < actors; i++ {
		go func(mine int) {
			me := visitor{mine, make(chan int, 1)}
			count := 0
			for {
				mall <- me
				other := <-me.answer
				if other < 0 {
					met <- count
					return
				}
				me.colour = complement(me.colour, other)
				count++
			}
		}(i % 3)
	}
	for i := 0; i < meetings; i++ {
		a, b := <-mall, <-mall
		a.answer <- b.colour
		b.answer <- a.colour
	}
	sum := 0
	for i := 0; i < actors; i++ {
		v := <-mall
		v.answer <- -1
		sum += <-met
	}
	found := ms(start)
	expect("who has met", sum, 2*meetings)
	return figures{"chameneos": found}
}

// A nil sender is a pong.
func big(n sizes) figures {
	actors, pings := n[0], n[1]
	type message struct{ from chan message }
	all := make([]chan message, actors)
	for i := range all {
		all[i] = make(chan message, actors+1) // never full
	}
	end := make(chan int, actors)
	start := time.Now()
	for i := range all {
		go func(index int) {
			mine, random, pongs := all[index], newSequence(index), 0
			all[random.below(actors)] <- message{mine}
			for m := range mine {
				if m.from != nil {
					m.from <- message{}
					continue
				}
				pongs++
				if pongs < pings {
					all[random.below(actors)] <- message{mine}
				} else {
					end <- pongs
				}
			}
		}(i)
	}
	sum := 0
	for range all {
		sum += <-end
	}
	found := ms(start)
	expect("the pongs", sum, actors*pings)
	return figures{"big": found}
}

func boundedBuffer(n sizes) figures {
	sides, items, work := n[0], n[1], n[2]
	buffer := make(chan int, n[3])
	used := make(chan int, sides)
	var made sync.WaitGroup
	made.Add(sides)
	start := time.Now()
	for i := 0; i < sides; i++ {
		go func() {
			for k := 0; k < items; k++ {
				if busy(work) > 0 {
					buffer <- 1
				}
			}
			made.Done()
		}()
		go func() {
			sum := 0
			for x := range buffer {
				if busy(work) > 0 {
					sum += x
				}
			}
			used <- sum
		}()
	}
	made.Wait()
	close(buffer)
	sum := 0
	for i := 0; i < sides; i++ {
		sum += <-used
	}
	found := ms(start)
	expect("the items", sum, sides*items)
	return figures{"bounded_buffer": found}
}

func isMultiple(x int32, of []int32) bool {
	for _, p := range of {
		if x%p == 0 {
			return true
		}
	}
	return false
}

func primeFilter(first int32, local int, from chan int32, count chan int) {
	primes := []int32{first}
	var next chan int32
	rest := make(chan int, 1)
	for x := range from {
		switch {
		case isMultiple(x, primes):
		case len(primes) < local:
			primes = append(primes, x)
		case next != nil:
			next <- x
		default:
			next = make(chan int32, room)
			go primeFilter(x, local, next, rest)
		}
	}
	if next == nil {
		count <- len(primes)
		return
	}
	close(next)
	count <- len(primes) + <-rest
}

func sieve(n sizes) figures {
	count := make(chan int)
	first := make(chan int32, room)
	start := time.Now()
	go primeFilter(2, n[1], first, count)
	for x := int32(3); x < int32(n[0]); x += 2 {
		first <- x
	}
	close(first)
	primes := <-count
	found := ms(start)
	expect("the primes", primes, n[2])
	return figures{"sieve": found}
}

func quickSort(xs []int64, alone int, to chan []int64) {
	if len(xs) < alone {
		sort.Slice(xs, func(i, k int) bool { return xs[i] < xs[k] })
		to <- xs
		return
	}
	pivot := xs[len(xs)/2]
	low := make([]int64, 0, len(xs)/2)
	high := make([]int64, 0, len(xs)/2)
	same := 0
	for _, x := range xs {
		switch {
		case x < pivot:
			low = append(low, x)
		case x > pivot:
			high = append(high, x)
		default:
			same++
		}
	}
	lows, highs := make(chan []int64, 1), make(chan []int64, 1)
	go quickSort(low, alone, lows)
	go quickSort(high, alone, highs)
	all := append(make([]int64, 0, len(xs)), <-lows...)
	for ; same > 0; same-- {
		all = append(all, pivot)
	}
	to <- append(all, <-highs...)
}

func sorted(n sizes) figures {
	random := newSequence(11)
	xs := make([]int64, n[0])
	for i := range xs {
		x := random.next() << 31
		xs[i] = int64((x | random.next()) & (1<<60 - 1))
	}
	to := make(chan []int64)
	start := time.Now()
	go quickSort(xs, n[1], to)
	all := <-to
	found := ms(start)
	expect("how many", len(all), n[0])
	if !sort.SliceIsSorted(all, func(i, k int) bool { return all[i] < all[k] }) {
		expect("whether they are sorted", 0, 1)
	}
	return figures{"quick_sort": found}
}

type board struct{ columns, left, right uint32 }

func (b board) next(queens int, do func(board)) {
	free := ^(b.columns | b.left | b.right) & (1<<uint(queens) - 1)
	for ; free != 0; free &= free - 1 {
		bit := free & -free
		do(board{b.columns | bit, (b.left | bit) << 1, (b.right | bit) >> 1})
	}
}

func countSolutions(b board, queens int) int {
	if bits.OnesCount32(b.columns) == queens {
		return 1
	}
	sum := 0
	free := ^(b.columns | b.left | b.right) & (1<<uint(queens) - 1)
	for ; free != 0; free &= free - 1 {
		bit := free & -free
		sum += countSolutions(
			board{b.columns | bit, (b.left | bit) << 1, (b.right | bit) >> 1},
			queens)
	}
	return sum
}

// A goroutine per board until there are so many rows.
func nQueens(n sizes) figures {
	queens, alone := n[0], n[1]
	var sum int64
	var all sync.WaitGroup
	var place func(b board)
	place = func(b board) {
		if bits.OnesCount32(b.columns) >= alone {
			atomic.AddInt64(&sum, int64(countSolutions(b, queens)))
		} else {
			b.next(queens, func(next board) {
				all.Add(1)
				go place(next)
			})
		}
		all.Done()
	}
	start := time.Now()
	all.Add(1)
	go place(board{})
	all.Wait()
	found := ms(start)
	expect("the solutions", int(sum), n[2])
	return figures{"n_queens": found}
}

func fibonacciOf(n int, to chan int) {
	if n <= 2 {
		to <- 1
		return
	}
	parts := make(chan int, 2)
	go fibonacciOf(n-1, parts)
	go fibonacciOf(n-2, parts)
	to <- <-parts + <-parts
}

func fibonacci(n sizes) figures {
	to := make(chan int)
	start := time.Now()
	go fibonacciOf(n[0], to)
	x := <-to
	found := ms(start)
	expect("the number", x, n[1])
	return figures{"fibonacci": found}
}

var workloads = map[string]func(sizes) figures{
	"ping_pong": pingPong, "many_to_one": manyToOne, "skynet": skynet,
	"spawn": spawn, "submit_many": submitMany, "queue": queue,
	"pipeline": pipeline, "actors_scale": actorsScale, "workers": workers,
	"thread_ring": threadRing, "counting": counting,
	"fork_join": forkJoin, "fork_join_create": forkJoinCreate,
	"chameneos": chameneos, "big": big, "bounded_buffer": boundedBuffer,
	"sieve": sieve, "quick_sort": sorted, "n_queens": nQueens,
	"fibonacci": fibonacci,
}

func explain() {
	fmt.Fprintln(os.Stderr, "usage: troupe-bench-go --run-one WORKLOAD WORKERS "+
		"SIZE...\ntroupe-bench starts this")
	os.Exit(2)
}

func main() {
	if len(os.Args) < 4 || os.Args[1] != "--run-one" {
		explain()
	}
	run, isKnown := workloads[os.Args[2]]
	var numbers sizes
	for _, word := range os.Args[3:] {
		n, err := strconv.Atoi(word)
		if err != nil || n < 1 {
			explain()
		}
		numbers = append(numbers, n)
	}
	if !isKnown {
		explain()
	}
	runtime.GOMAXPROCS(numbers[0])
	separator := "{"
	for row, value := range run(numbers[1:]) {
		fmt.Printf("%s\"%s\": %.9g", separator, row, value)
		separator = ", "
	}
	fmt.Println("}")
}
