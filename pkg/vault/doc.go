// Package vault seals provider credentials for the database and opens them again: NaCl
// secretbox (XSalsa20-Poly1305) under a ring of keys, one of which seals while all open.
//
// A stored value has one of two forms, told apart by the colon, which base64 lacks:
//
//	<key id>:<base64>   ours: the box holds {"user","provider","secret"}, so a value
//	                    copied to another row is refused
//	<base64>            the old function's: the box holds the secret alone and names no
//	                    key, so every key is tried; only rotation binds it to its row
//
// base64 is of nonce ‖ box, as PyNaCl's SecretBox.encrypt makes it, so that both
// programs read each other's rows.
//
// A KeyRing never changes: any number of goroutines may use one, and a reload makes
// another. What cannot be opened is an error that matches [ErrRefused] and carries no
// byte of the value.
package vault
