package main

import (
	"bytes"
	"os"

	"google.golang.org/protobuf/proto"

	"github.com/checkpoint-restore/go-criu/v8"
	"github.com/checkpoint-restore/go-criu/v8/crit"
	"github.com/checkpoint-restore/go-criu/v8/crit/cli"
	criu_core "github.com/checkpoint-restore/go-criu/v8/crit/images/criu-core"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/pagemap"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/pstree"
	image_stats "github.com/checkpoint-restore/go-criu/v8/crit/images/stats"
	"github.com/checkpoint-restore/go-criu/v8/magic"
	"github.com/checkpoint-restore/go-criu/v8/phaul"
	"github.com/checkpoint-restore/go-criu/v8/rpc"
	"github.com/checkpoint-restore/go-criu/v8/stats"
	"github.com/checkpoint-restore/go-criu/v8/utils"
)

// The rest of what go-criu's documentation names, with its types.
var (
	_ func() *criu.Criu                                = criu.MakeCriu
	_ criu.Notify                                      = criu.NoNotify{}
	_ func(int) error                                  = utils.CheckForCriu
	_ func() (int, error)                              = utils.GetCriuVersion
	_ func() bool                                      = utils.IsMemTrack
	_ int                                              = utils.MinCriuVersionPodman
	_ func(*os.File) (*stats.DumpStatsEntry, error)    = stats.CriuGetDumpStats
	_ func(*os.File) (*stats.RestoreStatsEntry, error) = stats.CriuGetRestoreStats
	_ string                                           = stats.StatsDump + stats.StatsRestore
	_ int64                                            = stats.ImgServiceMagic + stats.StatsMagic
	_ int                                              = stats.PrimaryMagicOffset + stats.SecondaryMagicOffset + stats.SizeOffset + stats.PayloadOffset
	_ map[string]uint64                                = magic.LoadMagic().ByName
	_ map[uint64]string                                = magic.LoadMagic().ByValue

	_ func(phaul.Local, phaul.Remote, phaul.Config) (*phaul.Client, error) = phaul.MakePhaulClient
	_ func(phaul.Config) (*phaul.Server, error)                            = phaul.MakePhaulServer
	_ func(*phaul.Client) error                                            = (*phaul.Client).Migrate
	_ func(*phaul.Server) string                                           = (*phaul.Server).LastImagesDir
	_ func(*phaul.Server) *criu.Criu                                       = (*phaul.Server).GetCriu
	_ phaul.Remote                                                         = (*phaul.Server)(nil)
	_ phaul.Local                                                          = local{}
	_                                                                      = phaul.Config{Pid: int32(1), Memfd: int(3), Wdir: ""}

	_ func(in, out *os.File, dir string, pretty, noPayload bool) crit.Critter = crit.New
	_ func(string) (*image_stats.DumpStatsEntry, error)                       = crit.GetDumpStats
	_ func(string) (*image_stats.RestoreStatsEntry, error)                    = crit.GetRestoreStats
	_ func(*os.File) (string, error)                                          = crit.ReadMagic
	_ interface {
		Decode(proto.Message) (*crit.CriuImage, error)
		Info() (*crit.CriuImage, error)
		Parse(proto.Message) (*crit.CriuImage, error)
		Encode(*crit.CriuImage) error
		ExplorePs() (*crit.PsTree, error)
		ExploreFds() ([]*crit.Fd, error)
		ExploreMems() ([]*crit.MemMap, error)
		ExploreRss() ([]*crit.RssMap, error)
		ExploreSk() ([]*crit.Sk, error)
	} = crit.Critter(nil)
	_ = crit.CriuImage{Magic: "", Entries: []*crit.CriuEntry{{Message: &pstree.PstreeEntry{}, Extra: ""}}, EntryType: proto.Message(nil)}
	_ = crit.PsTree{PID: uint32(1), PgID: uint32(1), SID: uint32(1), Process: &pstree.PstreeEntry{}, Core: &criu_core.CoreEntry{}}
	_ = crit.Sk{PId: uint32(1), Sockets: []*crit.Socket{{Fd: uint32(1), SrcPort: uint32(1), DestPort: uint32(1)}}}
	_ = crit.RssMap{PId: uint32(1), Rsses: []*crit.Rss{{PhyPages: int64(1), Vmas: []*crit.Vma{{Addr: "", Pages: int64(1)}}}}}
	_ = crit.MemMap{PId: uint32(1), Mems: []*crit.Mem{{Start: "", End: "", Protection: "", Resource: ""}}}
	_ = crit.Fd{PId: uint32(1), Files: []*crit.File{{Fd: "", Type: "", Path: ""}}}

	_       func(string, uint32, int) (*crit.MemoryReader, error)                         = crit.NewMemoryReader
	_       func(*crit.MemoryReader, uint64, uint64) (*bytes.Buffer, error)               = (*crit.MemoryReader).GetMemPages
	_       func(*crit.MemoryReader) []*pagemap.PagemapEntry                              = (*crit.MemoryReader).GetPagemapEntries
	_       func(*crit.MemoryReader) uint32                                               = (*crit.MemoryReader).GetPagesID
	_       func(*crit.MemoryReader) (*bytes.Buffer, error)                               = (*crit.MemoryReader).GetPsArgs
	_       func(*crit.MemoryReader) (*bytes.Buffer, error)                               = (*crit.MemoryReader).GetPsEnvVars
	_       func(*crit.MemoryReader) (int64, error)                                       = (*crit.MemoryReader).GetShmemSize
	_       func(*crit.MemoryReader, string, bool, int, int) ([]crit.PatternMatch, error) = (*crit.MemoryReader).SearchPattern
	_                                                                                     = crit.PatternMatch{Vaddr: uint64(1), Length: 1, Context: 1, Match: ""}
	_       [4]crit.TaskState                                                             = [...]crit.TaskState{crit.TaskAlive, crit.TaskDead, crit.TaskStopped, crit.TaskZombie}
	_       func(*os.File) (proto.Message, error)                                         = cli.GetEntryTypeFromImg
	_       func(*os.File) (proto.Message, error)                                         = cli.GetEntryTypeFromJSON
	_       func()                                                                        = cli.Run
	_       func()                                                                        = cli.Init
	_       *rpc.CriuOpts                                                                 = &rpc.CriuOpts{InheritFd: []*rpc.InheritFd{}, ExtMnt: []*rpc.ExtMountMap{}, JoinNs: []*rpc.JoinNamespace{}, CgRoot: []*rpc.CgroupRoot{}, Veths: []*rpc.CriuVethPair{}, UnixSkIno: []*rpc.UnixSk{}, Ps: &rpc.CriuPageServerInfo{}, ManageCgroupsMode: rpc.CriuCgMode_SOFT.Enum(), NetworkLock: rpc.CriuNetworkLockMethod_SKIP.Enum(), PreDumpMode: rpc.CriuPreDumpMode_VM_READ.Enum()}
	_       rpc.CriuReqType                                                               = rpc.CriuReqType_DUMP
	_, _, _                                                                               = rpc.Default_CriuOpts_ImagesDirFd, rpc.Default_CriuOpts_CpuCap, rpc.Default_CriuOpts_GhostLimit
)

type local struct{}

func (local) DumpCopyRestore(*criu.Criu, phaul.Config, string) error { return nil }
