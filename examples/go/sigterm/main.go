// A long computation that saves itself and ends when it is told to: sigterm DIR. `other restore DIR` goes on with it.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"google.golang.org/protobuf/proto"

	criu "github.com/checkpoint-restore/go-criu/v8"
	"github.com/checkpoint-restore/go-criu/v8/rpc"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: sigterm DIR")
		os.Exit(2)
	}
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM)
	fmt.Println("ready")
	for n := 1; n <= 60; n++ {
		select {
		case <-told:
			saveAndEnd(os.Args[1])
			fmt.Println("goes on at", n)
		case <-time.After(50 * time.Millisecond): // stands for a step of the computation
		}
	}
	fmt.Println("done")
}

// saveAndEnd returns in the restored process alone, or when it failed.
func saveAndEnd(name string) {
	if err := os.MkdirAll(name, 0o700); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	dir, err := os.Open(name)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	defer dir.Close()
	_, err = criu.MakeCriu().Checkpoint(context.Background(), &rpc.CriuOpts{
		ImagesDirFd: proto.Int32(int32(dir.Fd())),
		LogFile:     proto.String("dump.log"),
		ShellJob:    proto.Bool(true), // it may have a terminal
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "not saved, it goes on:", err)
	}
}
