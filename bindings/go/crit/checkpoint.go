package crit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"google.golang.org/protobuf/proto"

	criu_core "github.com/checkpoint-restore/go-criu/v8/crit/images/criu-core"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/mm"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/pstree"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/stats"
)

// Files of statistics.
const (
	StatsDump    = "stats-dump"
	StatsRestore = "stats-restore"
)

// TaskState is the state of a process.
type TaskState uint32

// The states, as images have them.
const (
	TaskAlive   TaskState = 0x01
	TaskDead    TaskState = 0x02
	TaskStopped TaskState = 0x03
	TaskZombie  TaskState = 0x06
)

// IsAlive tells whether the process runs.
func (s TaskState) IsAlive() bool { return s == TaskAlive }

// IsDead tells whether the process ended while it was dumped.
func (s TaskState) IsDead() bool { return s == TaskDead }

// IsStopped tells whether the process is stopped.
func (s TaskState) IsStopped() bool { return s == TaskStopped }

// IsZombie tells whether the process has ended and was not collected.
func (s TaskState) IsZombie() bool { return s == TaskZombie }

// IsAliveOrStopped tells whether the process has memory and files: one that has ended has not.
func (s TaskState) IsAliveOrStopped() bool { return s.IsAlive() || s.IsStopped() }

func (s TaskState) String() string {
	switch s {
	case TaskAlive:
		return "Alive"
	case TaskDead:
		return "Dead"
	case TaskStopped:
		return "Stopped"
	case TaskZombie:
		return "Zombie"
	}
	return fmt.Sprintf("Unknown (%d)", uint32(s))
}

// checkpoint is a directory of images, as far as the views of it need it.
type checkpoint struct {
	dir   string
	tasks []*PsTree // parents first
	files map[uint32]*fdinfo.FileEntry
}

// readImage reads an image of a directory; one that is not there is an os.ErrNotExist.
func readImage(dir, name string) (*CriuImage, error) {
	path := filepath.Join(dir, name)
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return decode(path, data, nil, false)
}

// entries reads the entries of an image as messages of a type; none if it is not there.
func entries[M proto.Message](dir, name string) ([]M, error) {
	img, err := readImage(dir, name)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []M
	for _, e := range img.Entries {
		m, ok := e.Message.(M)
		if !ok {
			return nil, fmt.Errorf("%s/%s: it is an image of %s", dir, name, img.Magic)
		}
		all = append(all, m)
	}
	return all, nil
}

// single reads the first entry of an image; nil if it is not there.
func single[M proto.Message](dir, name string) (m M, err error) {
	all, err := entries[M](dir, name)
	if err == nil && len(all) > 0 {
		m = all[0]
	}
	return m, err
}

func openCheckpoint(dir string) (*checkpoint, error) {
	if dir == "" {
		return nil, errors.New("crit: there is no directory of images")
	}
	tree, err := entries[*pstree.PstreeEntry](dir, "pstree.img")
	if err != nil {
		return nil, err
	}
	if len(tree) == 0 {
		return nil, fmt.Errorf("%s: pstree.img is missing or empty: this is no complete checkpoint", dir)
	}
	c := &checkpoint{dir: dir, files: map[uint32]*fdinfo.FileEntry{}}
	byPid := map[uint32]*PsTree{}
	for i, p := range tree {
		core, err := single[*criu_core.CoreEntry](dir, fmt.Sprintf("core-%d.img", p.GetPid()))
		if err != nil {
			return nil, err
		}
		task := &PsTree{PID: p.GetPid(), PgID: p.GetPgid(), SID: p.GetSid(), Comm: core.GetTc().GetComm(), Process: p, Core: core}
		parent := byPid[p.GetPpid()]
		if parent == nil && i > 0 {
			return nil, fmt.Errorf("%s/pstree.img: the parent of %d is not there before it", dir, p.GetPid())
		}
		if byPid[task.PID] != nil {
			return nil, fmt.Errorf("%s/pstree.img: %d is there twice", dir, p.GetPid())
		}
		if parent != nil {
			parent.Children = append(parent.Children, task)
		}
		byPid[task.PID] = task
		c.tasks = append(c.tasks, task)
	}
	files, err := entries[*fdinfo.FileEntry](dir, "files.img")
	for _, f := range files {
		c.files[f.GetId()] = f
	}
	return c, err
}

func (c *checkpoint) mm(task *PsTree) (*mm.MmEntry, error) {
	return single[*mm.MmEntry](c.dir, fmt.Sprintf("mm-%d.img", task.PID))
}

func (c *checkpoint) fds(task *PsTree) ([]*fdinfo.FdinfoEntry, error) {
	ids := task.Core.GetIds()
	if ids == nil {
		var err error
		if ids, err = single[*criu_core.TaskKobjIdsEntry](c.dir, fmt.Sprintf("ids-%d.img", task.PID)); err != nil || ids == nil {
			return nil, err
		}
	}
	return entries[*fdinfo.FdinfoEntry](c.dir, fmt.Sprintf("fdinfo-%d.img", ids.GetFilesId()))
}

// GetDumpStats reads the statistics of the dump into dir.
func GetDumpStats(dir string) (*stats.DumpStatsEntry, error) {
	entry, err := readStats(dir, StatsDump)
	if err == nil && entry.GetDump() == nil {
		err = fmt.Errorf("%s/%s: it has no statistics of a dump", dir, StatsDump)
	}
	return entry.GetDump(), err
}

// GetRestoreStats reads the statistics of the restore from dir.
func GetRestoreStats(dir string) (*stats.RestoreStatsEntry, error) {
	entry, err := readStats(dir, StatsRestore)
	if err == nil && entry.GetRestore() == nil {
		err = fmt.Errorf("%s/%s: it has no statistics of a restore", dir, StatsRestore)
	}
	return entry.GetRestore(), err
}

func readStats(dir, name string) (*stats.StatsEntry, error) {
	img, err := readImage(dir, name)
	if err != nil {
		return nil, err
	}
	if len(img.Entries) == 0 || img.Magic != "STATS" {
		return nil, fmt.Errorf("%s/%s: it holds no statistics", dir, name)
	}
	return img.Entries[0].Message.(*stats.StatsEntry), nil
}
