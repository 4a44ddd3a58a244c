// Works, and checkpoints itself from time to time: interval DIR [EVERY], with EVERY as "1m". Whatever happens to it, the newest
// complete images are in DIR/last; `other restore DIR/last` brings it back. (Files that it has open have to be as they were: so it
// says what it does before a checkpoint, not after it.)
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/protobuf/proto"

	criu "github.com/checkpoint-restore/go-criu/v8"
	"github.com/checkpoint-restore/go-criu/v8/rpc"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: interval DIR [EVERY]")
		os.Exit(2)
	}
	every := time.Minute
	if len(os.Args) > 2 {
		parsed, err := time.ParseDuration(os.Args[2])
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		every = parsed
	}
	done := make(chan int)
	go work(done)
	for number, ticker := 1, time.NewTicker(every); ; number++ {
		select {
		case <-ticker.C:
			fmt.Println("checkpoint", number)
			restored, err := save(os.Args[1], number)
			if err != nil {
				fmt.Fprintln(os.Stderr, "not saved:", err)
			} else if restored {
				fmt.Println("here again, from checkpoint", number)
			}
		case sum := <-done:
			fmt.Println("done:", sum)
			return
		}
	}
}

// work stands for what takes long.
func work(done chan<- int) {
	sum := 0
	for i := 1; i <= 100; i++ {
		sum += i
		time.Sleep(50 * time.Millisecond)
	}
	done <- sum
}

// save writes a checkpoint beside the last one, and takes its place when it is complete.
func save(base string, number int) (restored bool, err error) {
	name := filepath.Join(base, fmt.Sprint(number))
	if err := os.MkdirAll(name, 0o700); err != nil {
		return false, err
	}
	dir, err := os.Open(name)
	if err != nil {
		return false, err
	}
	defer dir.Close()
	restored, err = criu.MakeCriu().Checkpoint(context.Background(), &rpc.CriuOpts{
		ImagesDirFd:  proto.Int32(int32(dir.Fd())),
		LogFile:      proto.String("dump.log"),
		LeaveRunning: proto.Bool(true),
		ShellJob:     proto.Bool(true), // it may have a terminal
	})
	if err != nil || restored {
		return restored, err
	}
	last := filepath.Join(base, "last")
	old, _ := os.Readlink(last)
	_ = os.Remove(last + ".new")
	if err := os.Symlink(fmt.Sprint(number), last+".new"); err != nil {
		return false, err
	}
	if err := os.Rename(last+".new", last); err != nil {
		return false, err
	}
	if old != "" {
		return false, os.RemoveAll(filepath.Join(base, old))
	}
	return false, nil
}
