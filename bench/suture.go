package main

import _ "github.com/thejerf/suture/v4"
