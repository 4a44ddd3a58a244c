// Moves a running process to another network namespace of this machine:
//
//	unshare --pid --fork --mount-proc --net migrate serve SOCKET DIR
//	migrate send SOCKET DIR PID
//
// The server has pids of its own, too, where the one of the process is free: it keeps it. The process is frozen here while
// it is restored there; if that fails, it runs on here.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/checkpoint-restore/go-criu/v8/phaul"
)

func main() {
	var err error
	switch {
	case len(os.Args) == 4 && os.Args[1] == "serve":
		err = serve(os.Args[2], os.Args[3])
	case len(os.Args) == 5 && os.Args[1] == "send":
		err = migrate(os.Args[2], os.Args[3], os.Args[4])
	default:
		err = errors.New("usage: migrate serve SOCKET DIR | migrate send SOCKET DIR PID")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(socket, dir string) error {
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	defer listener.Close()
	fmt.Println("ready")
	conn, err := listener.Accept()
	if err != nil {
		return err
	}
	defer conn.Close()
	pages, err := conn.(*net.UnixConn).File()
	if err != nil {
		return err
	}
	defer pages.Close()
	server, err := phaul.MakePhaulServer(phaul.Config{Memfd: int(pages.Fd()), Wdir: dir})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	pid, err := server.Serve(ctx, conn, nil)
	if err != nil {
		return err
	}
	fmt.Println("pid", pid, "runs here")
	// The first process of a pid namespace takes all others with it when it ends, and collects those that end before.
	for {
		var status syscall.WaitStatus
		switch ended, err := syscall.Wait4(-1, &status, 0, nil); {
		case err == syscall.EINTR:
		case err != nil:
			return err
		case ended == pid:
			fmt.Println("pid", pid, "has ended")
			return nil
		}
	}
}

func migrate(socket, dir, pid string) error {
	number, err := strconv.ParseInt(pid, 10, 32)
	if err != nil {
		return err
	}
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	pages, err := conn.(*net.UnixConn).File()
	if err != nil {
		return err
	}
	defer pages.Close()
	link := phaul.NewLink(conn, nil, time.Minute)
	client, err := phaul.MakePhaulClient(link, link, phaul.Config{Pid: int32(number), Memfd: int(pages.Fd()), Wdir: dir})
	if err != nil {
		return err
	}
	return client.Migrate()
}
