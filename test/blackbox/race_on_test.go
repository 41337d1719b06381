//go:build race

package blackbox

// raceDetector says that the service is to be built as the tests are.
const raceDetector = true
