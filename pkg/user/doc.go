// Package user is the domain: what an AI user is, which changes may be made to one, and what each rule
// says when it is broken. It does no I/O: bytes and values come in, values and errors go out, so that every
// rule is a table test.
//
// A user's fields are declared once, in the table of field.go. A change is a [Command] whose [Change] is a
// [Create], a [Delete] or a [Modification]: an [Update], or a change of API keys such as [IssueKey]. Each
// transport decodes its request into a Command and hands it to the one writer, which calls the change's
// Validate and Apply.
package user
