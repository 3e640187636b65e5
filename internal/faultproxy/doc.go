// Package faultproxy is a scripted TCP proxy on loopback that stands between a
// client and its server and does to their connections what networks do: cuts
// them, lets them go silent, delays, throttles or refuses them. It can also have
// the server say something else.
package faultproxy
