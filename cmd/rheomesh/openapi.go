package main

import (
	"github.com/spf13/cobra"

	"rheomesh"
)

func newOpenAPI() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "openapi",
		Short: "Print the contract of the HTTP API as OpenAPI 3",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			document := rheomesh.OpenAPIYAML()
			if asJSON {
				document = rheomesh.OpenAPIJSON()
			}
			_, err := cmd.OutOrStdout().Write(document)
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON in place of YAML")
	return cmd
}
