// Checkpoints a process into a directory, or brings one back from it: other save PID DIR | other restore DIR
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"

	criu "github.com/checkpoint-restore/go-criu/v8"
	"github.com/checkpoint-restore/go-criu/v8/rpc"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		var e *criu.Error
		if errors.As(err, &e) && e.Hint != "" {
			fmt.Fprintln(os.Stderr, "what would help:", e.Hint)
		}
		os.Exit(1)
	}
}

func run(args []string) error {
	save := len(args) == 3 && args[0] == "save"
	if !save && !(len(args) == 2 && args[0] == "restore") {
		return errors.New("usage: other save PID DIR | other restore DIR")
	}
	name := args[len(args)-1]
	if err := os.MkdirAll(name, 0o700); err != nil {
		return err
	}
	dir, err := os.Open(name)
	if err != nil {
		return err
	}
	defer dir.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	opts := &rpc.CriuOpts{ImagesDirFd: proto.Int32(int32(dir.Fd())), LogFile: proto.String(args[0] + ".log")}
	if !save {
		pid, err := criu.MakeCriu().RestoreContext(ctx, opts, announcer{})
		if err == nil {
			fmt.Println("restored, pid", pid)
		}
		return err
	}
	pid, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	opts.Pid = proto.Int32(int32(pid))
	return criu.MakeCriu().DumpContext(ctx, opts, announcer{})
}

// announcer tells about some of the stages; an error would undo the operation.
type announcer struct{ criu.NoNotify }

func (announcer) PostDump() error {
	fmt.Println("saved; about to end the process")
	return nil
}

func (announcer) PostRestore(pid int32) error {
	fmt.Println("pid", pid, "is back; about to run")
	return nil
}
