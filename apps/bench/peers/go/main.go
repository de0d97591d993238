// SPDX-License-Identifier: MIT

// troupe-bench-go: goroutines that share by a buffered channel. The sizes are
// those of sizes.hpp, which Go can't read: troupe-bench passes them as
// arguments.
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"time"
)

// QUEUE: `sides` producers and consumers, items handed over one by one.
func queue(sides, capacity, items int) (float64, error) {
	channel := make(chan int, capacity)
	put := make(chan bool, sides)
	sums := make(chan int64, sides)
	start := time.Now()
	for i := 0; i < sides; i++ {
		go func() {
			var sum int64
			for x := range channel {
				sum += int64(x)
			}
			sums <- sum
		}()
		go func(first int) {
			for x := first; x < items; x += sides {
				channel <- x
			}
			put <- true
		}(i)
	}
	for i := 0; i < sides; i++ {
		<-put
	}
	close(channel)
	var sum int64
	for i := 0; i < sides; i++ {
		sum += <-sums
	}
	ns := float64(time.Since(start).Nanoseconds()) / float64(items)
	if wanted := int64(items) * int64(items-1) / 2; sum != wanted {
		return 0, fmt.Errorf("the sum is %d, not %d", sum, wanted)
	}
	return ns, nil
}

func explain() {
	fmt.Fprintln(os.Stderr, "usage: troupe-bench-go --run-one queue WORKERS "+
		"SIDES CAPACITY ITEMS\ntroupe-bench starts this")
	os.Exit(2)
}

func main() {
	if len(os.Args) != 7 || os.Args[1] != "--run-one" || os.Args[2] != "queue" {
		explain()
	}
	var numbers [4]int
	for i := range numbers {
		n, err := strconv.Atoi(os.Args[3+i])
		if err != nil || n < 1 {
			explain()
		}
		numbers[i] = n
	}
	runtime.GOMAXPROCS(numbers[0])
	ns, err := queue(numbers[1], numbers[2], numbers[3])
	if err != nil {
		fmt.Fprintln(os.Stderr, "queue:", err)
		os.Exit(1)
	}
	fmt.Printf("{\"queue\": %.9g}\n", ns)
}
