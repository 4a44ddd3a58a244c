package crit

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"github.com/checkpoint-restore/go-criu/v8/crit/images/mm"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/pagemap"
)

// MemoryReader reads the saved memory of a process.
type MemoryReader struct {
	dir     string
	pid     uint32
	records []*pagemap.PagemapEntry
	pagesID uint32
	parent  *MemoryReader // of the images that these are an increment to
}

// Parents of a series of images; more is a circle.
const maxParents = 1000

// NewMemoryReader makes one for a process of the checkpoint in a directory. Images have pages of 4096 bytes.
func NewMemoryReader(checkpointDir string, pid uint32, pageSize int) (*MemoryReader, error) {
	if pageSize != imagePage {
		return nil, fmt.Errorf("crit: pages of %d bytes; images have pages of %d", pageSize, imagePage)
	}
	return newReader(checkpointDir, pid, maxParents)
}

func newReader(dir string, pid uint32, parents int) (*MemoryReader, error) {
	records, id, err := readPagemap(dir, pid)
	if err != nil {
		return nil, err
	}
	if records == nil {
		return nil, fmt.Errorf("%s/pagemap-%d.img: %w", dir, pid, os.ErrNotExist)
	}
	mr := &MemoryReader{dir: dir, pid: pid, records: records, pagesID: id}
	for _, r := range records {
		if inParent(r) {
			if parents == 0 {
				return nil, fmt.Errorf("%s: its parent images have parents without end", dir)
			}
			mr.parent, err = newReader(filepath.Join(dir, "parent"), pid, parents-1)
			return mr, err
		}
	}
	return mr, nil
}

func inParent(r *pagemap.PagemapEntry) bool { return r.GetInParent() || r.GetFlags()&1 != 0 }

// present tells whether a run's pages are in this image's file of pages.
func present(r *pagemap.PagemapEntry) bool {
	return r.Flags == nil && !r.GetInParent() || r.GetFlags()&4 != 0
}

// GetPagemapEntries returns the runs of saved pages.
func (mr *MemoryReader) GetPagemapEntries() []*pagemap.PagemapEntry { return mr.records }

// GetPagesID returns the number of the file that the pages are in.
func (mr *MemoryReader) GetPagesID() uint32 { return mr.pagesID }

// GetMemPages returns the memory from start up to end. What was not saved reads as zeros: untouched memory, and what the mapped file has.
func (mr *MemoryReader) GetMemPages(start, end uint64) (*bytes.Buffer, error) {
	if end < start || end-start > 1<<40 {
		return nil, fmt.Errorf("crit: memory from %#x to %#x", start, end)
	}
	out := make([]byte, end-start)
	if err := mr.read(out, start); err != nil {
		return nil, err
	}
	return bytes.NewBuffer(out), nil
}

// read fills out with the memory at start.
func (mr *MemoryReader) read(out []byte, start uint64) error {
	path := filepath.Join(mr.dir, fmt.Sprintf("pages-%d.img", mr.pagesID))
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // only read
	end := start + uint64(len(out))
	var offset uint64 // of the run in the file
	for _, r := range mr.records {
		first, last := r.GetVaddr(), r.GetVaddr()+pageCount(r)*imagePage
		from, to := max(first, start), min(last, end)
		if from < to && present(r) {
			if _, err := file.ReadAt(out[from-start:to-start], int64(offset+from-first)); err != nil {
				return fmt.Errorf("%s: pages at %#x: %w", path, from, err)
			}
		}
		if from < to && inParent(r) {
			if err := mr.parent.read(out[from-start:to-start], from); err != nil {
				return err
			}
		}
		if present(r) {
			offset += last - first
		}
	}
	return nil
}

func (mr *MemoryReader) mm() (*mm.MmEntry, error) {
	name := fmt.Sprintf("mm-%d.img", mr.pid)
	entry, err := single[*mm.MmEntry](mr.dir, name)
	if err == nil && entry == nil {
		err = fmt.Errorf("%s/%s: %w", mr.dir, name, os.ErrNotExist)
	}
	return entry, err
}

// GetPsArgs returns the arguments of the process, each with a zero byte at its end.
func (mr *MemoryReader) GetPsArgs() (*bytes.Buffer, error) {
	mm, err := mr.mm()
	if err != nil {
		return nil, err
	}
	return mr.GetMemPages(mm.GetMmArgStart(), mm.GetMmArgEnd())
}

// GetPsEnvVars returns the environment of the process, each variable with a zero byte at its end.
func (mr *MemoryReader) GetPsEnvVars() (*bytes.Buffer, error) {
	mm, err := mr.mm()
	if err != nil {
		return nil, err
	}
	return mr.GetMemPages(mm.GetMmEnvStart(), mm.GetMmEnvEnd())
}

// GetShmemSize returns how many bytes of memory that others may share, and no file on a disk has, the process maps.
func (mr *MemoryReader) GetShmemSize() (int64, error) {
	mm, err := mr.mm()
	if err != nil {
		return 0, err
	}
	var size int64
	for _, v := range mm.Vmas {
		if v.GetStatus()&anonShared != 0 || v.GetStatus()&areaMemfd != 0 && v.GetStatus()&fileShared != 0 {
			size += int64(v.GetEnd() - v.GetStart())
		}
	}
	return size, nil
}

// PatternMatch is a place where a pattern was found. Match has Context bytes before and after it, a dot for what cannot be printed.
type PatternMatch struct {
	Vaddr   uint64
	Length  int
	Context int
	Match   string
}

// Matches are this long at most where a chunk ends within them.
const overlap = 1024

// SearchPattern looks for a regular expression in the saved pages, or for a plain text with escapeRegExpCharacters. It reads
// chunkSize bytes at a time (0: 10 MiB).
func (mr *MemoryReader) SearchPattern(pattern string, escapeRegExpCharacters bool, context, chunkSize int) ([]PatternMatch, error) {
	if context < 0 || chunkSize < 0 {
		return nil, errors.New("crit: a context and a chunk cannot be negative")
	}
	if chunkSize == 0 {
		chunkSize = 10 << 20
	}
	if escapeRegExpCharacters {
		pattern = regexp.QuoteMeta(pattern)
	}
	expression, err := regexp.Compile(pattern)
	if err != nil {
		return nil, err
	}
	var found []PatternMatch
	for _, r := range mr.records {
		if !present(r) && !inParent(r) {
			continue
		}
		last := r.GetVaddr() + pageCount(r)*imagePage
		next := r.GetVaddr()
		for at := r.GetVaddr(); at < last; at += uint64(chunkSize) {
			end := min(at+uint64(chunkSize)+overlap, last)
			memory, err := mr.GetMemPages(at, end)
			if err != nil {
				return nil, err
			}
			data := memory.Bytes()
			for _, m := range expression.FindAllIndex(data, -1) {
				start := at + uint64(m[0])
				// One that begins behind this chunk is found again in the next.
				if start < next || m[0] >= chunkSize && end < last {
					continue
				}
				next = start + uint64(max(m[1]-m[0], 1))
				around := data[max(m[0]-context, 0):min(m[1]+context, len(data))]
				found = append(found, PatternMatch{start, m[1] - m[0], context, printable(around)})
			}
		}
	}
	return found, nil
}
