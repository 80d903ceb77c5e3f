//go:build !amd64

package aesgcm

import "crypto/cipher"

const wide = false

func newFast([]byte) cipher.AEAD { return nil }
