package config

import (
	"slices"

	"go.yaml.in/yaml/v3"
)

// checkTogether judges settings that are each right, but not with each other.
func (p *problems) checkTogether(c Config, root *yaml.Node) {
	if !slices.Contains(c.CORS.AllowedOrigins, "*") {
		return
	}
	if len(c.CORS.AllowedOrigins) > 1 {
		p.add(root, "cors.allowedOrigins", "must be * alone, or a list of origins without it")
	}
	// Fetch standard section 3.2.5: browsers refuse the pair, and to echo every origin
	// instead would let any web page act with its visitor's credentials.
	if c.CORS.AllowCredentials {
		p.add(root, "cors.allowCredentials", "must be false beside the origin *: list the origins instead")
	}
}
