// Package user is the domain: what an AI user is, which changes may be made to one, and
// what each rule says when it is broken. It does no I/O: bytes and values come in,
// values and errors go out, so that every rule is a table test.
//
// A change is a [Command] whose [Change] is a [Create], an [Update] or a [Delete]. Each
// transport decodes its request into a Command ([ParseCreate], [ParseUpdate]) and hands
// it to the one writer, which calls the change's Validate and Apply.
package user
