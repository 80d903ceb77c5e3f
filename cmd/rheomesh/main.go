// Command rheomesh is a WebRTC SFU with WHIP and WHEP, and the clients that try it out. This package reads flags,
// environment and signals, and wires the other packages together; it holds nothing that another program could want.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // the command could not do what it was asked
	exitUsage  = 2 // the command line is wrong
)

// errUsage marks mistakes of the command line.
var errUsage = errors.New("usage")

// run executes one command line and returns the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.Execute()
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errUsage):
		fmt.Fprintf(stderr, "rheomesh: %v; see rheomesh --help\n", err)
		return exitUsage
	}
	fmt.Fprintf(stderr, "rheomesh: %v\n", err)
	return exitFailed
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "rheomesh",
		Short: "WebRTC SFU: publish with WHIP, play with WHEP",
		Example: `  rheomesh demo       try it: a node, a publisher, a viewer
  rheomesh serve      start a node and print its URLs`,
		SilenceErrors: true, // run prints them
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError(err) })
	root.AddCommand(newServe(), newDemo(), newPublish(), newPlay(), newBench(), newConfig(), newToken(), newOpenAPI(), newVersion(), newHealthcheck())
	wrapArgs(root)
	return root
}

// wrapArgs makes the errors of every command's argument check usage errors.
func wrapArgs(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error { return usageError(check(cmd, args)) }
	}
	for _, child := range cmd.Commands() {
		wrapArgs(child)
	}
}

func usageError(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", errUsage, err)
}
