// A program written for go-criu v8: only what its documentation names is used here. consumer PID DIR [CRIU]
//
// It dumps the process, restores it, and prints the stages it was told of.
package main

import (
	"fmt"
	"log"
	"os"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/checkpoint-restore/go-criu/v8"
	"github.com/checkpoint-restore/go-criu/v8/crit"
	"github.com/checkpoint-restore/go-criu/v8/rpc"
	"github.com/checkpoint-restore/go-criu/v8/stats"
	"github.com/checkpoint-restore/go-criu/v8/utils"
)

type notify struct {
	criu.NoNotify
}

func (n notify) PreDump() error {
	fmt.Println("pre-dump")
	return nil
}

func (n notify) PostDump() error {
	fmt.Println("post-dump")
	return nil
}

func (n notify) PreRestore() error {
	fmt.Println("pre-restore")
	return nil
}

func (n notify) PostRestore(pid int32) error {
	fmt.Println("post-restore", pid)
	return nil
}

// What a wrapper of the library would ask of it.
type checkpointer interface {
	SetCriuPath(path string)
	Prepare() error
	Cleanup() error
	AddInheritFd(key string, file *os.File)
	Dump(opts *rpc.CriuOpts, nfy criu.Notify) error
	Restore(opts *rpc.CriuOpts, nfy criu.Notify) error
	PreDump(opts *rpc.CriuOpts, nfy criu.Notify) error
	StartPageServer(opts *rpc.CriuOpts) error
	StartPageServerChld(opts *rpc.CriuOpts) (int, int, error)
	GetCriuVersion() (int, error)
	IsCriuAtLeast(version int) (bool, error)
	FeatureCheck(features *rpc.CriuFeatures) (*rpc.CriuFeatures, error)
}

var _ checkpointer = (*criu.Criu)(nil)

func main() {
	pid, err := strconv.ParseInt(os.Args[1], 10, 32)
	if err != nil {
		log.Fatal(err)
	}
	if err := utils.CheckForCriu(utils.PodCriuVersion); err != nil {
		log.Fatal(err)
	}
	c := criu.MakeCriu()
	if len(os.Args) > 3 {
		c.SetCriuPath(os.Args[3])
	}
	version, err := c.GetCriuVersion()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("version", version)
	img, err := os.Open(os.Args[2])
	if err != nil {
		log.Fatal("cannot open the images directory: ", err)
	}
	defer img.Close()
	if err := c.Prepare(); err != nil {
		log.Fatal(err)
	}
	opts := &rpc.CriuOpts{
		Pid:         proto.Int32(int32(pid)),
		ImagesDirFd: proto.Int32(int32(img.Fd())),
		LogLevel:    proto.Int32(4),
		LogFile:     proto.String("dump.log"),
		ShellJob:    proto.Bool(true),
	}
	if err := c.Dump(opts, notify{}); err != nil {
		log.Fatal("dump: ", err)
	}
	// The pid is free once the process's parent has collected it.
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(fmt.Sprint("/proc/", pid)); err != nil {
			break
		}
	}
	dumped, err := stats.CriuGetDumpStats(img)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("pages", dumped.GetPagesWritten() > 0)
	ps, err := crit.New(nil, nil, os.Args[2], false, false).ExplorePs()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("process", ps.PID, ps.Comm, crit.TaskState(ps.Core.Tc.GetTaskState()))
	opts = &rpc.CriuOpts{
		ImagesDirFd: proto.Int32(int32(img.Fd())),
		LogLevel:    proto.Int32(4),
		LogFile:     proto.String("restore.log"),
		ShellJob:    proto.Bool(true),
	}
	if err := c.Restore(opts, notify{}); err != nil {
		log.Fatal("restore: ", err)
	}
	if err := c.Cleanup(); err != nil {
		log.Fatal(err)
	}
	fmt.Println("done")
}
