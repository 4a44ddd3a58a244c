//go:build !cgo

package criu

// defaultPath is the engine of a Criu without a path: a library cannot be called without cgo.
const defaultPath = "criu"

func newLibrary() (connection, error) {
	return startWorker(defaultPath, nil, false)
}
