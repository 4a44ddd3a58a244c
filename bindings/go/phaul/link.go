package phaul

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/protobuf/proto"

	criu "github.com/checkpoint-restore/go-criu/v8"
	"github.com/checkpoint-restore/go-criu/v8/rpc"
)

// Link is the Remote and the Local of a Client over one connection, at whose other end Serve is. Each side speaks only when the
// other waits, so the connection's own descriptor may be the Memfd of both.
//
// The restored tree runs on the other side only once this side has said so, and this side lets go of its own then: at no
// time do both run. The images stay on both sides.
type Link struct {
	conn    net.Conn
	reader  *bufio.Reader
	opts    *rpc.CriuOpts
	timeout time.Duration
}

// NewLink makes one. The last dump is made with opts (nil: none), to which what the migration needs is added; no answer may take
// longer than timeout (0: forever).
func NewLink(conn net.Conn, opts *rpc.CriuOpts, timeout time.Duration) *Link {
	return &Link{conn: conn, reader: newReader(conn), opts: opts, timeout: timeout}
}

// A line of the protocol is no longer than this.
const maxLine = 4096

func newReader(conn net.Conn) *bufio.Reader { return bufio.NewReaderSize(conn, maxLine) }

// message is a line of the protocol, in JSON.
type message struct {
	Op    string `json:"op,omitempty"`    // a request: start-iter, stop-iter, file, restore, go
	Name  string `json:"name,omitempty"`  // of a file, whose bytes follow
	Size  int64  `json:"size,omitempty"`  // of a file
	Pid   int    `json:"pid,omitempty"`   // the answer to restore
	Error string `json:"error,omitempty"` // an answer that says no
}

func send(to io.Writer, m message) error {
	line, err := json.Marshal(m)
	if err == nil {
		_, err = to.Write(append(line, '\n'))
	}
	return err
}

func receive(from *bufio.Reader) (m message, err error) {
	line, err := from.ReadSlice('\n')
	if err != nil {
		return m, fmt.Errorf("phaul: the other side: %w", err)
	}
	if err := json.Unmarshal(line, &m); err != nil {
		return m, fmt.Errorf("phaul: the other side speaks something else: %w", err)
	}
	return m, nil
}

// ask sends a request and returns its answer.
func (l *Link) ask(m message) (message, error) {
	if l.timeout > 0 {
		if err := l.conn.SetDeadline(time.Now().Add(l.timeout)); err != nil {
			return message{}, err
		}
		defer l.conn.SetDeadline(time.Time{}) //nolint:errcheck // none is better than one that passed
	}
	if err := send(l.conn, m); err != nil {
		return message{}, err
	}
	answer, err := receive(l.reader)
	if err == nil && answer.Error != "" {
		err = fmt.Errorf("phaul: %s on the other side: %s", m.Op, answer.Error)
	}
	return answer, err
}

// StartIter makes the other side ready for pages.
func (l *Link) StartIter() error {
	_, err := l.ask(message{Op: "start-iter"})
	return err
}

// StopIter waits until the other side has all pages.
func (l *Link) StopIter() error {
	_, err := l.ask(message{Op: "stop-iter"})
	return err
}

// DumpCopyRestore dumps the tree, sends the images, and has them restored while the tree is frozen.
func (l *Link) DumpCopyRestore(c *criu.Criu, cfg Config, lastClientImagesPath string) error {
	name := filepath.Join(cfg.Wdir, "final")
	if err := os.Mkdir(name, 0o700); err != nil {
		return err
	}
	dir, err := os.Open(name)
	if err != nil {
		return err
	}
	defer dir.Close() //nolint:errcheck // a directory
	opts := &rpc.CriuOpts{LogFile: proto.String("dump.log")}
	if l.opts != nil {
		proto.Merge(opts, l.opts)
	}
	opts.Pid, opts.ImagesDirFd = proto.Int32(cfg.Pid), proto.Int32(int32(dir.Fd()))
	iterated := lastClientImagesPath != ""
	if iterated {
		opts.ParentImg, opts.TrackMem = proto.String(lastClientImagesPath), proto.Bool(true)
		opts.Ps = &rpc.CriuPageServerInfo{Fd: proto.Int32(int32(cfg.Memfd))}
		if err := l.StartIter(); err != nil {
			return err
		}
	}
	return c.Dump(opts, &copier{link: l, dir: name, iterated: iterated})
}

// copier does its work when the tree is frozen and its images are there.
type copier struct {
	criu.NoNotify
	link     *Link
	dir      string
	iterated bool
}

func (c *copier) PostDump() error {
	if c.iterated {
		if err := c.link.StopIter(); err != nil {
			return err
		}
	}
	files, err := os.ReadDir(c.dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		if f.Type().IsRegular() && filepath.Ext(f.Name()) == ".img" {
			if err := c.link.sendFile(filepath.Join(c.dir, f.Name())); err != nil {
				return err
			}
		}
	}
	if _, err := c.link.ask(message{Op: "restore"}); err != nil {
		return err
	}
	return send(c.link.conn, message{Op: "go"})
}

func (l *Link) sendFile(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // only read
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if err := send(l.conn, message{Op: "file", Name: info.Name(), Size: info.Size()}); err != nil {
		return err
	}
	if _, err := io.CopyN(l.conn, file, info.Size()); err != nil {
		return fmt.Errorf("phaul: %s: %w", path, err)
	}
	answer, err := receive(l.reader)
	if err == nil && answer.Error != "" {
		err = fmt.Errorf("phaul: %s on the other side: %s", info.Name(), answer.Error)
	}
	return err
}

// Serve does what the Link at the other end of conn asks for, until a tree was restored: its root's pid. It is restored with
// opts (nil: none). The end of the context ends it.
func (s *Server) Serve(ctx context.Context, conn net.Conn, opts *rpc.CriuOpts) (pid int, err error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	reader := newReader(conn)
	for {
		m, err := receive(reader)
		if err != nil {
			return 0, errors.Join(err, ctx.Err())
		}
		switch m.Op {
		case "start-iter":
			err = s.StartIter()
		case "stop-iter":
			err = s.StopIter()
		case "file":
			content := &io.LimitedReader{R: reader, N: m.Size}
			if err = s.receiveFile(content, m); err != nil && content.N > 0 {
				// The other side reads the answer when it has written everything.
				_, drained := io.Copy(io.Discard, content)
				err = errors.Join(err, drained)
			}
		case "restore":
			return s.restore(ctx, conn, reader, opts)
		default:
			err = fmt.Errorf("%q is no request", m.Op)
		}
		answer := message{}
		if err != nil {
			answer.Error = short(err)
		}
		if sent := send(conn, answer); err != nil || sent != nil {
			return 0, errors.Join(err, sent)
		}
	}
}

// short is an error that fits a line of the protocol, whatever JSON makes of its characters.
func short(err error) string {
	text := err.Error()
	return text[:min(len(text), maxLine/8)]
}

// receiveFile takes an image, of which nothing but a plain name is believed.
func (s *Server) receiveFile(from io.Reader, m message) error {
	if m.Name != filepath.Base(m.Name) || filepath.Ext(m.Name) != ".img" || m.Size < 0 {
		return fmt.Errorf("%q of %d bytes is no image", m.Name, m.Size)
	}
	if s.last == "" {
		dir, err := s.nextDir()
		if err != nil {
			return err
		}
		_ = dir.Close()
	}
	file, err := os.OpenFile(filepath.Join(s.last, m.Name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.CopyN(file, from, m.Size)
	return errors.Join(err, file.Close())
}

func (s *Server) restore(ctx context.Context, conn net.Conn, reader *bufio.Reader, opts *rpc.CriuOpts) (int, error) {
	fail := func(err error) (int, error) {
		return 0, errors.Join(err, send(conn, message{Error: short(err)}))
	}
	dir, err := os.Open(s.last)
	if err != nil {
		return fail(err)
	}
	defer dir.Close() //nolint:errcheck // a directory
	all := &rpc.CriuOpts{LogFile: proto.String("restore.log")}
	if opts != nil {
		proto.Merge(all, opts)
	}
	all.ImagesDirFd = proto.Int32(int32(dir.Fd()))
	waiting := &waiter{conn: conn, reader: reader}
	pid, err := s.criu.RestoreContext(ctx, all, waiting)
	if err != nil && !waiting.told {
		return fail(err)
	}
	return pid, err
}

// waiter lets a restored tree run when the other side says so.
type waiter struct {
	criu.NoNotify
	conn   net.Conn
	reader *bufio.Reader
	told   bool
}

func (w *waiter) PostRestore(pid int32) error {
	w.told = true
	if err := send(w.conn, message{Pid: int(pid)}); err != nil {
		return err
	}
	m, err := receive(w.reader)
	if err == nil && m.Op != "go" {
		err = fmt.Errorf("phaul: %q in place of the word to go", m.Op)
	}
	return err
}
