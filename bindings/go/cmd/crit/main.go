// Command crit shows and changes images of checkpoints.
package main

import "github.com/checkpoint-restore/go-criu/v8/crit/cli"

func main() { cli.Run() }
