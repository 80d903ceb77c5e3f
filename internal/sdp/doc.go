// Package sdp reads the offers of WHIP and WHEP clients and writes our answers.
//
// The road of an offer: [Parse] checks the text against [Limits] in one pass
// that allocates nothing, then reads it into a [Description]; [CheckPublish]
// or [CheckPlay] says whether the offer fits the protocol; [PublishCodecs],
// [PlayCodecs], [PublishExtensions] and [PlayExtensions] choose what the
// answer accepts of each section; [Answer.Marshal] writes it. The other
// direction, a server that offers and a player that answers, is [Offer] and
// [ParseAnswer].
//
// Reading is lenient, because real clients are: any line end, text before
// `v=0`, transport attributes at the session level or in the section, encoding
// names in any case, missing channel counts, seven-digit H.264 profiles.
// Writing is strict: CRLF, canonical names, one BUNDLE transport, all
// candidates in the first accepted section.
//
// The package holds no state and starts nothing: text in, values out.
package sdp
