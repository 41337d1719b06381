// Package vault seals provider credentials for the database and opens them again: NaCl
// secretbox (XSalsa20-Poly1305) under a ring of keys, one of which seals while all open.
//
// A stored value has one of two forms, told apart by the colon, which base64 lacks:
//
//	<key id>:<base64>   ours: the box holds {"user","provider","secret"}, so a value
//	                    copied to another row is refused
//	<base64>            the old function's: the box holds the secret alone and names no
//	                    key, so every key is tried; sealing it anew binds it to its row
//
// The base64 encodes nonce ‖ box, as PyNaCl's SecretBox.encrypt produces it, so the old function's
// rows open here as they are. The old function cannot read values of ours.
//
// A KeyRing never changes: any number of goroutines may use one, and a reload makes another. A
// value that cannot be opened gives an error that matches [ErrRefused] and carries no byte of it.
package vault
