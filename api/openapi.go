package api

// What all of the API has in common, for the document that is generated from the annotations beside the handlers.
//
//	@title						Rheomesh
//	@version					1
//	@description				WebRTC SFU: publish with WHIP, play with WHEP, control it over REST. Errors are problem documents (RFC 9457) with a stable type. Unknown JSON fields are refused under /api/v1. On a node without credentials none is needed.
//	@license.name				Apache 2.0
//	@license.url				https://www.apache.org/licenses/LICENSE-2.0
//	@BasePath					/
//
//	@tag.name					WHIP
//	@tag.description			Publishing over HTTP (RFC 9725)
//	@tag.name					WHEP
//	@tag.description			Playing over HTTP
//	@tag.name					node
//	@tag.description			This node
//	@tag.name					routers
//	@tag.description			Meeting points: what is published in one can be played in it
//	@tag.name					publishers
//	@tag.description			Named sources in a router
//	@tag.name					subscribers
//	@tag.description			Viewers of a publisher
//	@tag.name					relays
//	@tag.description			Publishers that are carried to other nodes and from there
//	@tag.name					events
//	@tag.description			What happens on the node, as a stream and as webhooks
//	@tag.name					metrics
//	@tag.description			For Prometheus
//	@tag.name					health
//	@tag.description			For load balancers and supervisors
//	@tag.name					documents
//	@tag.description			This document
//
//	@securityDefinitions.apikey	Bearer
//	@in							header
//	@name						Authorization
//	@description				An API key, or a JWT.
