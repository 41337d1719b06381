// Package console tests the console as people meet it: the whole service on a real database, in Debian's
// Chromium. Chromium is installed when it is missing, and so is axe-core, from npm, into .cache/; where either
// cannot be had, one line says what is not tested.
package console
