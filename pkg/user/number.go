package user

import (
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/shopspring/decimal"
)

// MaxInteger is the largest integer that every JSON reader keeps exact (RFC 7493, section 2.2).
const MaxInteger = 1<<53 - 1

// Cents is an amount of money in hundredths of a US dollar. In JSON it is a number of
// dollars with at most two places.
type Cents int64

// String writes the amount in dollars, with no needless zeros: 1250 is 12.5.
func (c Cents) String() string {
	whole, rest := strconv.FormatInt(int64(c)/100, 10), int64(c)%100
	switch {
	case rest == 0:
		return whole
	case rest%10 == 0:
		return whole + "." + strconv.FormatInt(rest/10, 10)
	case rest < 10:
		return whole + ".0" + strconv.FormatInt(rest, 10)
	default:
		return whole + "." + strconv.FormatInt(rest, 10)
	}
}

// Scaled reads a JSON number times 10^places as an integer of 0…[MaxInteger]. Its second
// result is a problem's code, empty when there is none.
func Scaled(literal jsontext.Value, places int32) (int64, string) {
	if len(literal) > 100 {
		return 0, codeRange
	}
	d, err := decimal.NewFromString(string(literal))
	// An exponent far out of range is refused before any arithmetic would write out its digits.
	if err != nil || d.Exponent() > 60 || d.Exponent() < -160 {
		return 0, codeRange
	}
	switch d = d.Shift(places); {
	case d.IsNegative():
		return 0, codeMin
	case !d.IsInteger():
		return 0, codePlaces
	case d.GreaterThan(decimal.NewFromInt(MaxInteger)):
		return 0, codeRange
	}
	return d.IntPart(), ""
}

// The codes of number problems; the first is ozzo's own for the rule Min.
const (
	codeMin    = "validation_min_greater_equal_than_required"
	codePlaces = "validation_too_many_decimals"
)

// numberValue writes a JSON number so that numbers of the same value are written alike: its digits
// without zeros at either end, e, and the power of ten of the last one. 1, 1.0 and 1e0 are 1e0.
func numberValue(literal jsontext.Value) string {
	mantissa, exponent, _ := strings.Cut(strings.ToLower(string(literal)), "e")
	sign, mantissa := cutSign(mantissa)
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := strings.TrimLeft(whole+fraction, "0")
	if digits == "" {
		return "0e0"
	}
	power := 0
	if exponent != "" {
		var err error
		if power, err = strconv.Atoi(exponent); err != nil { // beyond all that can be compared
			return string(literal)
		}
	}
	significant := strings.TrimRight(digits, "0")
	power += len(digits) - len(significant) - len(fraction)
	return sign + significant + "e" + strconv.Itoa(power)
}

func cutSign(number string) (sign, rest string) {
	if rest, ok := strings.CutPrefix(number, "-"); ok {
		return "-", rest
	}
	return "", number
}
