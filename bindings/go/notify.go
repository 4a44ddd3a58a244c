package criu

import "os"

// Notify is called at the stages of an operation. An error fails the operation.
type Notify interface {
	PreDump() error
	PostDump() error
	PreRestore() error
	PostRestore(pid int32) error
	NetworkLock() error
	NetworkUnlock() error
	SetupNamespaces(pid int32) error
	PostSetupNamespaces() error
	PostResume() error
}

// NoNotify is a Notify that does nothing: embed it and write the methods that are wanted.
type NoNotify struct{}

// PreDump does nothing.
func (NoNotify) PreDump() error { return nil }

// PostDump does nothing.
func (NoNotify) PostDump() error { return nil }

// PreRestore does nothing.
func (NoNotify) PreRestore() error { return nil }

// PostRestore does nothing.
func (NoNotify) PostRestore(int32) error { return nil }

// NetworkLock does nothing.
func (NoNotify) NetworkLock() error { return nil }

// NetworkUnlock does nothing.
func (NoNotify) NetworkUnlock() error { return nil }

// SetupNamespaces does nothing.
func (NoNotify) SetupNamespaces(int32) error { return nil }

// PostSetupNamespaces does nothing.
func (NoNotify) PostSetupNamespaces() error { return nil }

// PostResume does nothing.
func (NoNotify) PostResume() error { return nil }

// A Notify may have more methods than the interface asks for; they are called as well.
type (
	// PreResumeNotify is told before a restored tree runs.
	PreResumeNotify interface{ PreResume() error }
	// PtsMasterNotify gets the master of the restored tree's terminal, with CriuOpts.OrphanPtsMaster; it then owns the file.
	PtsMasterNotify interface{ OrphanPtsMaster(master *os.File) error }
	// StatusReadyNotify is told when the engine is ready.
	StatusReadyNotify interface{ StatusReady() error }
	// StageNotify gets the name of every stage first, those without a method too.
	StageNotify interface {
		Stage(name string, pid int32) error
	}
	// ProgressNotify is told how far the operation is: total is 0 while unknown; the unit is bytes in the phases that
	// move memory, objects in the others.
	ProgressNotify interface {
		Progress(phase string, done, total uint64)
	}
	// LogNotify gets the lines that the engine logs, up to the level that LogLevel returns (0 messages .. 4 debug).
	LogNotify interface {
		LogLevel() int
		Log(level int, line string)
	}
)

// calls hands what the engine says during one operation to the Notify of its caller.
type calls struct {
	to Notify
	// What the first failing callback returned.
	failed error
	// What a callback panicked with, to go on with in the caller's goroutine.
	panicked any
}

// stage calls the method of a stage; fd is the terminal's master or -1, and becomes this function's.
func (c *calls) stage(name string, pid int32, fd int) (ok bool) {
	var master *os.File
	if fd >= 0 {
		master = os.NewFile(uintptr(fd), "ptmx")
	}
	defer func() {
		if p := recover(); p != nil {
			c.panicked, ok = p, false
		}
	}()
	err := c.dispatch(name, pid, &master)
	if master != nil {
		_ = master.Close()
	}
	if err != nil && c.failed == nil {
		c.failed = err
	}
	return err == nil
}

func (c *calls) dispatch(name string, pid int32, master **os.File) error {
	if c.to == nil {
		return nil
	}
	if s, ok := c.to.(StageNotify); ok {
		if err := s.Stage(name, pid); err != nil {
			return err
		}
	}
	switch name {
	case "pre-dump":
		return c.to.PreDump()
	case "post-dump":
		return c.to.PostDump()
	case "pre-restore":
		return c.to.PreRestore()
	case "post-restore":
		return c.to.PostRestore(pid)
	case "network-lock":
		return c.to.NetworkLock()
	case "network-unlock":
		return c.to.NetworkUnlock()
	case "setup-namespaces":
		return c.to.SetupNamespaces(pid)
	case "post-setup-namespaces":
		return c.to.PostSetupNamespaces()
	case "post-resume":
		return c.to.PostResume()
	}
	return c.further(name, master)
}

func (c *calls) further(name string, master **os.File) error {
	switch name {
	case "pre-resume":
		if n, ok := c.to.(PreResumeNotify); ok {
			return n.PreResume()
		}
	case "status-ready":
		if n, ok := c.to.(StatusReadyNotify); ok {
			return n.StatusReady()
		}
	case "orphan-pts-master":
		if n, ok := c.to.(PtsMasterNotify); ok && *master != nil {
			file := *master
			*master = nil
			return n.OrphanPtsMaster(file)
		}
	}
	return nil
}

func (c *calls) progress(phase string, done, total uint64) {
	defer c.keepPanic()
	if n, ok := c.to.(ProgressNotify); ok {
		n.Progress(phase, done, total)
	}
}

func (c *calls) log(level int, line string) {
	defer c.keepPanic()
	if n, ok := c.to.(LogNotify); ok {
		n.Log(level, line)
	}
}

func (c *calls) keepPanic() {
	if p := recover(); p != nil {
		c.panicked = p
	}
}

// wantsProgress, and up to which level log lines are wanted (-1: none).
func (c *calls) wants() (progress bool, logLevel int) {
	_, progress = c.to.(ProgressNotify)
	logLevel = -1
	if n, ok := c.to.(LogNotify); ok {
		logLevel = n.LogLevel()
	}
	return progress, logLevel
}
