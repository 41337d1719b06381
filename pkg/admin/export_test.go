package admin

import "time"

// RotateWithin makes a rotation give up users whom others hold after so long.
func (s *Service) RotateWithin(patience time.Duration) { s.rotationPatience = patience }
