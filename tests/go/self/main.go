// Saves itself while all of its goroutines and threads are at work, and tells whether each of them goes on: self DIR [CRIU]
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/protobuf/proto"

	criu "github.com/checkpoint-restore/go-criu/v8"
	"github.com/checkpoint-restore/go-criu/v8/rpc"
)

const workers = 24

var counts [workers + 3]atomic.Int64

func main() {
	if err := run(); err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
}

func run() error {
	for i := range workers {
		go count(i)
	}
	if err := echo(); err != nil {
		return err
	}
	go ticks()
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGUSR1)
	if err := all(); err != nil {
		return err
	}
	c := criu.MakeCriu()
	if len(os.Args) > 2 {
		c.SetCriuPath(os.Args[2])
	}
	dir, err := os.Open(os.Args[1])
	if err != nil {
		return err
	}
	defer dir.Close()
	fmt.Println("saving")
	restored, err := c.Checkpoint(context.Background(), &rpc.CriuOpts{
		ImagesDirFd: proto.Int32(int32(dir.Fd())), LogFile: proto.String("dump.log"), LogLevel: proto.Int32(4),
	})
	if err != nil {
		return err
	}
	fmt.Println("restored:", restored)
	if err := all(); err != nil {
		return err
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGUSR1); err != nil {
		return err
	}
	select {
	case <-told:
	case <-time.After(20 * time.Second):
		return fmt.Errorf("no signal arrives")
	}
	// The runtime still makes threads and collects garbage.
	runtime.GC()
	fmt.Println("all at work")
	return nil
}

// count works now and then; every third has a thread of its own.
func count(i int) {
	if i%3 == 0 {
		runtime.LockOSThread()
	}
	garbage := make([][]byte, 64)
	for n := 0; ; n++ {
		garbage[n%64] = make([]byte, 4096)
		counts[i].Add(1)
		time.Sleep(2 * time.Millisecond)
	}
}

// echo keeps two ends of a connection busy, and a pipe.
func echo() error {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	var ends [2]net.Conn
	for i, fd := range fds {
		file := os.NewFile(uintptr(fd), "socket")
		if ends[i], err = net.FileConn(file); err != nil {
			return err
		}
		_ = file.Close()
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		return err
	}
	go func() { _, _ = io.Copy(writer, ends[1]) }()
	go func() {
		for b := []byte{0}; ; {
			if _, err := ends[0].Write(b); err != nil {
				return
			}
			if _, err := reader.Read(b); err != nil {
				return
			}
			counts[workers].Add(1)
			time.Sleep(time.Millisecond)
		}
	}()
	return nil
}

func ticks() {
	ticker := time.NewTicker(3 * time.Millisecond)
	for range ticker.C {
		counts[workers+1].Add(1)
		time.AfterFunc(time.Millisecond, func() { counts[workers+2].Add(1) })
	}
}

// all waits until each has done something more.
func all() error {
	var before [len(counts)]int64
	for i := range counts {
		before[i] = counts[i].Load()
	}
	end := time.Now().Add(30 * time.Second)
	for i := range counts {
		for counts[i].Load() < before[i]+3 {
			if time.Now().After(end) {
				return fmt.Errorf("goroutine %d stands still", i)
			}
			time.Sleep(time.Millisecond)
		}
	}
	return nil
}
