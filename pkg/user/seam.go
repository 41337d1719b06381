package user

// Seams are the facets of a text that a search goes by where pg_trgm is blind: the windows
// of three runes that have no two letters or digits of ASCII side by side. It extracts nothing
// from them, or too little, or what depends on the database's locale, which decides what else is a
// letter. Only says that the text has no other windows.
func Seams(text string) (facets []string, only bool) {
	only = true
	var start, plain [3]int // of the runes of the window, in a ring: where each begins, and 1 if it is such a letter
	n := 0
	for i, r := range text {
		if start[n%3], plain[n%3] = i, 0; r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			plain[n%3] = 1
		}
		if n++; n < 3 {
			continue
		}
		if middle := plain[(n+1)%3]; middle == 1 && plain[0]+plain[1]+plain[2] > 1 {
			only = false
			continue
		}
		facets = append(facets, "q~"+text[start[n%3]:i+len(string(r))])
	}
	return facets, only && n >= 3
}
