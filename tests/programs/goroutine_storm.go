// What: Go in a storm of goroutines that start and end, dumped fifty times while it checks itself.
// Go: file
// Needs: go
// Modes: plain leave
// Dumps: 50
// Seconds: 60
package main

import (
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// A piece of work: a goroutine that makes others, keeps memory while it lives and knows what it has to find in it.
func work(depth int, seed uint32, done chan<- uint32, wrong func(string)) {
	held := make([]uint32, 64+int(seed%512))
	for i := range held {
		held[i] = seed ^ uint32(i)*2654435761
	}
	if depth == 0 {
		if seed%16 == 0 {
			time.Sleep(time.Duration(seed%7) * 100 * time.Microsecond)
		} else if seed%16 == 1 {
			runtime.LockOSThread() // its thread ends with it
		}
	} else {
		parts := make(chan uint32)
		for k := uint32(0); k < 3; k++ {
			go work(depth-1, seed*31+k, parts, wrong)
		}
		var sum, wanted uint32
		for k := uint32(0); k < 3; k++ {
			sum += <-parts
			wanted += answer(depth-1, seed*31+k)
		}
		if sum != wanted {
			wrong(fmt.Sprintf("depth %d: %d instead of %d", depth, sum, wanted))
		}
	}
	for i := range held {
		if held[i] != seed^uint32(i)*2654435761 {
			wrong(fmt.Sprintf("memory of %d: word %d is %d", seed, i, held[i]))
		}
	}
	done <- answer(depth, seed)
}

func answer(depth int, seed uint32) uint32 {
	return crc32.ChecksumIEEE([]byte{byte(depth), byte(seed), byte(seed >> 8), byte(seed >> 16), byte(seed >> 24)})
}

func main() {
	folder := os.Args[1]
	at := func(name string) string { return filepath.Join(folder, name) }
	var failure atomic.Pointer[string]
	wrong := func(text string) { failure.CompareAndSwap(nil, &text) }
	var storms sync.WaitGroup
	var rounds [8]atomic.Int64
	var ends atomic.Bool
	for s := range rounds {
		storms.Add(1)
		go func() {
			defer storms.Done()
			for n := uint32(s); !ends.Load() && failure.Load() == nil; n += 8 {
				done := make(chan uint32, 1)
				go work(4, n, done, wrong)
				select {
				case got := <-done:
					if got != answer(4, n) {
						wrong("an answer is wrong")
					}
				case <-time.After(30 * time.Second):
					wrong("a piece of work does not end")
				}
				rounds[s].Add(1)
				time.Sleep(time.Millisecond)
			}
		}()
	}
	last := time.Now()
	clock := func() {
		now := time.Now()
		if now.Before(last) {
			wrong("time ran backwards")
		}
		last = now
		time.Sleep(5 * time.Millisecond)
	}
	until := func(more int64) {
		var wanted [8]int64
		for s := range rounds {
			wanted[s] = rounds[s].Load() + more
		}
		for s := range rounds {
			for end := time.Now().Add(30 * time.Second); rounds[s].Load() < wanted[s] && failure.Load() == nil; clock() {
				if time.Now().After(end) {
					wrong(fmt.Sprintf("storm %d is over", s))
				}
			}
		}
	}
	until(5)
	os.WriteFile(at("ready"), nil, 0o644)
	for failure.Load() == nil {
		if _, err := os.Stat(at("go")); err == nil {
			break
		}
		clock()
	}
	until(20)
	ends.Store(true)
	storms.Wait()
	text := "OK"
	if why := failure.Load(); why != nil {
		text = *why
	}
	os.WriteFile(at("part"), []byte(text+"\n"), 0o644)
	os.Rename(at("part"), at("result"))
	if text != "OK" {
		os.Exit(1)
	}
}
