package crit

import (
	"errors"
	"fmt"
	"os"

	criu_core "github.com/checkpoint-restore/go-criu/v8/crit/images/criu-core"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/fs"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/pagemap"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/pstree"
)

// PsTree is a process with those below it.
type PsTree struct {
	PID      uint32               `json:"pid"`
	PgID     uint32               `json:"pgid"`
	SID      uint32               `json:"sid"`
	Comm     string               `json:"comm"`
	Process  *pstree.PstreeEntry  `json:"-"`
	Core     *criu_core.CoreEntry `json:"-"`
	Children []*PsTree            `json:"children,omitempty"`
}

// FindPs returns the process of this pid, of this one and those below it; nil if there is none.
func (ps *PsTree) FindPs(pid uint32) *PsTree {
	if ps.PID == pid {
		return ps
	}
	for _, child := range ps.Children {
		if found := child.FindPs(pid); found != nil {
			return found
		}
	}
	return nil
}

// ExplorePs shows the tree of processes.
func (c *critter) ExplorePs() (*PsTree, error) {
	cp, err := openCheckpoint(c.dir)
	if err != nil {
		return nil, err
	}
	return cp.tasks[0], nil
}

// Fd has the files that a process has open.
type Fd struct {
	PId   uint32  `json:"pid"`
	Files []*File `json:"files,omitempty"`
}

// File is an open file; Fd is a number, "cwd" or "root".
type File struct {
	Fd   string `json:"fd"`
	Type string `json:"type,omitempty"`
	Path string `json:"path"`
}

// ExploreFds shows the files that processes have open.
func (c *critter) ExploreFds() ([]*Fd, error) {
	cp, err := openCheckpoint(c.dir)
	if err != nil {
		return nil, err
	}
	var all []*Fd
	for _, task := range cp.tasks {
		fds, err := cp.fds(task)
		if err != nil {
			return nil, err
		}
		entry := &Fd{PId: task.PID}
		for _, fd := range fds {
			entry.Files = append(entry.Files, &File{fmt.Sprint(fd.GetFd()), fd.GetType().String(), cp.fileName(fd.GetId())})
		}
		places, err := single[*fs.FsEntry](cp.dir, fmt.Sprintf("fs-%d.img", task.PID))
		if err != nil {
			return nil, err
		}
		if places != nil {
			entry.Files = append(entry.Files, &File{Fd: "cwd", Path: cp.fileName(places.GetCwdId())},
				&File{Fd: "root", Path: cp.fileName(places.GetRootId())})
		}
		all = append(all, entry)
	}
	return all, nil
}

// MemMap has the memory areas of a process.
type MemMap struct {
	PId  uint32 `json:"pid"`
	Exe  string `json:"exe"`
	Mems []*Mem `json:"mems,omitempty"`
}

// Mem is a memory area; addresses are hexadecimal.
type Mem struct {
	Start      string `json:"start"`
	End        string `json:"end"`
	Protection string `json:"protection"`
	Resource   string `json:"resource,omitempty"`
}

// ExploreMems shows the memory areas of processes.
func (c *critter) ExploreMems() ([]*MemMap, error) {
	cp, err := openCheckpoint(c.dir)
	if err != nil {
		return nil, err
	}
	var all []*MemMap
	for _, task := range cp.tasks {
		mm, err := cp.mm(task)
		if err != nil {
			return nil, err
		}
		if mm == nil {
			continue
		}
		entry := &MemMap{PId: task.PID, Exe: cp.fileName(mm.GetExeFileId())}
		for _, v := range mm.Vmas {
			entry.Mems = append(entry.Mems, &Mem{hex(v.GetStart()), hex(v.GetEnd()), protection(v), cp.resource(v)})
		}
		all = append(all, entry)
	}
	return all, nil
}

func hex(address uint64) string { return fmt.Sprintf("%x", address) }

// RssMap has the pages that were saved of a process.
type RssMap struct {
	PId   uint32 `json:"pid"`
	Rsses []*Rss `json:"rss,omitempty"`
}

// Rss is a run of saved pages, and the areas it is in.
type Rss struct {
	PhyAddr  string `json:"phy_addr,omitempty"`
	PhyPages int64  `json:"phy_pages,omitempty"`
	Vmas     []*Vma `json:"vmas,omitempty"`
	Resource string `json:"resource,omitempty"`
}

// Vma is a memory area.
type Vma struct {
	Addr  string `json:"addr,omitempty"`
	Pages int64  `json:"pages,omitempty"`
}

// ExploreRss shows the pages that were saved.
func (c *critter) ExploreRss() ([]*RssMap, error) {
	cp, err := openCheckpoint(c.dir)
	if err != nil {
		return nil, err
	}
	var all []*RssMap
	for _, task := range cp.tasks {
		mm, err := cp.mm(task)
		if err != nil {
			return nil, err
		}
		records, _, err := readPagemap(cp.dir, task.PID)
		if err != nil {
			return nil, err
		}
		if mm == nil || records == nil {
			continue
		}
		entry := &RssMap{PId: task.PID}
		for _, r := range records {
			run := &Rss{PhyAddr: hex(r.GetVaddr()), PhyPages: int64(pageCount(r))}
			end := r.GetVaddr() + pageCount(r)*imagePage
			for _, v := range mm.Vmas {
				if v.GetStart() >= end || v.GetEnd() <= r.GetVaddr() {
					continue
				}
				run.Vmas = append(run.Vmas, &Vma{hex(v.GetStart()), int64((v.GetEnd() - v.GetStart()) / imagePage)})
				if run.Resource == "" {
					run.Resource = cp.resource(v)
				}
			}
			entry.Rsses = append(entry.Rsses, run)
		}
		all = append(all, entry)
	}
	return all, nil
}

// Pages are this long in every image.
const imagePage = 4096

// readPagemap returns the runs of pages of a process and the number of the file that they are in; none if there is no such image.
func readPagemap(dir string, pid uint32) ([]*pagemap.PagemapEntry, uint32, error) {
	name := fmt.Sprintf("pagemap-%d.img", pid)
	img, err := readImage(dir, name)
	if errors.Is(err, os.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	if img.Magic != "PAGEMAP" || len(img.Entries) == 0 {
		return nil, 0, fmt.Errorf("%s/%s: it is no pagemap", dir, name)
	}
	records := []*pagemap.PagemapEntry{}
	for _, e := range img.Entries[1:] {
		r := e.Message.(*pagemap.PagemapEntry)
		if r.GetVaddr()+pageCount(r)*imagePage < r.GetVaddr() || pageCount(r) > 1<<52 {
			return nil, 0, fmt.Errorf("%s/%s: a run of %d pages at %#x", dir, name, pageCount(r), r.GetVaddr())
		}
		records = append(records, r)
	}
	return records, img.Entries[0].Message.(*pagemap.PagemapHead).GetPagesId(), nil
}

func pageCount(r *pagemap.PagemapEntry) uint64 {
	if r.NrPages != nil {
		return r.GetNrPages()
	}
	return uint64(r.GetCompatNrPages())
}

// Sk has the sockets of a process.
type Sk struct {
	PId     uint32    `json:"pid"`
	Sockets []*Socket `json:"sockets"`
}

// Socket is a socket.
type Socket struct {
	Fd       uint32 `json:"fd"`
	FdType   string `json:"fd_type"`
	Family   string `json:"family,omitempty"`
	Protocol string `json:"protocol,omitempty"`
	Type     string `json:"type,omitempty"`
	State    string `json:"state,omitempty"`
	SrcAddr  string `json:"src_addr,omitempty"`
	SrcPort  uint32 `json:"src_port,omitempty"`
	DestAddr string `json:"dest_addr,omitempty"`
	DestPort uint32 `json:"dest_port,omitempty"`
	SendBuf  string `json:"send_buf,omitempty"`
	RecvBuf  string `json:"recv_buf,omitempty"`
}

// ExploreSk shows sockets.
func (c *critter) ExploreSk() ([]*Sk, error) {
	cp, err := openCheckpoint(c.dir)
	if err != nil {
		return nil, err
	}
	var all []*Sk
	for _, task := range cp.tasks {
		fds, err := cp.fds(task)
		if err != nil {
			return nil, err
		}
		entry := &Sk{PId: task.PID, Sockets: []*Socket{}}
		for _, fd := range fds {
			if s := cp.socket(fd.GetId()); s != nil {
				s.Fd, s.FdType = fd.GetFd(), fd.GetType().String()
				entry.Sockets = append(entry.Sockets, s)
			}
		}
		all = append(all, entry)
	}
	return all, nil
}

// socket is nil for another file.
func (c *checkpoint) socket(id uint32) *Socket {
	named := func(table string, n uint32) string { return nameOf(uint64(n), dictionaries[table]) }
	f := c.files[id]
	switch {
	case f.GetIsk() != nil:
		s := f.GetIsk()
		return &Socket{
			Family: named("sk.family", s.GetFamily()), Protocol: protocol(s.GetProto()), Type: named("sk.type", s.GetType()),
			State: named("sk.state", s.GetState()), SrcAddr: address(s.SrcAddr), SrcPort: s.GetSrcPort(),
			DestAddr: address(s.DstAddr), DestPort: s.GetDstPort(),
			SendBuf: sizeText(uint64(s.GetOpts().GetSoSndbuf())), RecvBuf: sizeText(uint64(s.GetOpts().GetSoRcvbuf())),
		}
	case f.GetUsk() != nil:
		s := f.GetUsk()
		return &Socket{
			Family: "UNIX", Type: named("sk.type", s.GetType()), State: named("sk.state", s.GetState()), SrcAddr: unixName(s.Name),
			SendBuf: sizeText(uint64(s.GetOpts().GetSoSndbuf())), RecvBuf: sizeText(uint64(s.GetOpts().GetSoRcvbuf())),
		}
	case f.GetPsk() != nil:
		return &Socket{Family: "PACKET", Type: named("sk.type", f.GetPsk().GetType())}
	case f.GetNlsk() != nil:
		return &Socket{Family: "NETLINK"}
	}
	return nil
}
