// Package utils answers the questions that programs ask before they offer checkpoints.
package utils

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	criu "github.com/checkpoint-restore/go-criu/v8"
	"github.com/checkpoint-restore/go-criu/v8/rpc"
)

// MinCriuVersionPodman is the version that Podman needs at least.
const MinCriuVersionPodman = 31100

// PodCriuVersion is the version that is needed for containers out of and into pods.
const PodCriuVersion = 31600

// CheckForCriu returns an error unless there is an engine of at least this version.
func CheckForCriu(version int) error {
	found, err := GetCriuVersion()
	if err != nil {
		return fmt.Errorf("no version of CRIU could be found out: %w", err)
	}
	if found < version {
		return fmt.Errorf("CRIU is of version %d; %d is needed", found, version)
	}
	return nil
}

// GetCriuVersion returns the engine's version: major * 10000 + minor * 100 + sublevel.
func GetCriuVersion() (int, error) {
	return criu.MakeCriu().GetCriuVersion()
}

// IsMemTrack tells whether the kernel tells which pages a process has written to.
func IsMemTrack() bool {
	features, err := criu.MakeCriu().FeatureCheck(&rpc.CriuFeatures{MemTrack: proto.Bool(true)})
	return err == nil && features.GetMemTrack()
}
