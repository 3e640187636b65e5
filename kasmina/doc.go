// Package kasmina grows seeds: small kernels that are germinated beside a layer
// of a network in training, trained on its detached output, blended in, and kept
// when they have earned their place.
//
// The network is in another process, whose trainer reports on the bus and
// carries out orders (package trainer; package graft is the half that lives
// there). This package decides. A [Core] is a pure function: from the [Record] of
// a run, a [Message] and the time it makes a [Decision], which is the next record
// and what is to go out. Nothing here waits, and nothing is kept but in records,
// so any process may decide on any run. Records are stored by compare-and-set; a
// conflict is decided anew.
//
// # The way of a seed
//
// A signed GERMINATE passes gate G0, finds the slot that it names (or the
// trainer's first), and asks the kernel library for a kernel of that slot
// (GERMINATED). What is announced is compared: blueprint, checksum, format, guard
// digest, slot and mesh (G3). Then the trainer is ordered to attach it. A seed
// moves when a report shows that its trainer has applied the order; residence is
// counted in reports. In TRAINING it rests at least Promotion.MinTraining reports;
// it goes on once its loss has levelled out below the host's, and is decided on
// after TrainEpochs (G1, G2). In BLENDING its share ramps by optimizer steps until
// the ramp is done (G3). In SHADOWING and PROBATIONARY its share is 1 and its
// weights rest; it moves on when the gain is larger than its noise (G4), and is
// FOSSILIZED by a command that finds the gain still holding. Then the whole
// network may train on, unless another seed is on its way into the output.
//
// A seed that fails a gate, regresses or rests too long without earning is CULLED
// at once and EMBARGOED for a time; the order to drop it is repeated until the
// trainer no longer lists it. Then it is reset (G5 looks first) to DORMANT, where
// it leaves the record and may germinate anew. CULL does the same on command and
// ends a kept seed in TERMINATED, and so does STRUCTURAL_PRUNING, which needs no
// blueprint; CANCEL skips the embargo; ROLLBACK has the trainer go back to the model
// before the seed. A violation of isolation pauses a seed
// until a report is clean; the third one culls it, two clean reports in the output
// forgive the earlier ones.
//
// # Figures
//
// What a report does not tell is unknown, not 0: it neither moves a seed nor culls
// it before its time is up. What is told and not finite culls. A host gradient
// that was never told of lets G1 pass, and the gate's event says host_gradient
// unknown; once it was told of, it must be. A gain in held-out loss or accuracy
// counts when it exceeds Promotion.MinGain or AccuracyGain and Promotion.Sigma
// standard errors: those told with it, or else those of the distinct gains of the
// stage, of which there must be two.
//
// # Both directions are level-triggered
//
// An order waits in the record until a report shows its effect. One that was not
// read is sent again under its number; one that two reports have read without
// effect under a new one, and after five of those its seed is culled
// (order_without_effect). A number never means two things. Every number is above
// the record's last and the highest that the trainer has read, so that a record
// that was lost goes on where the trainer is: its seeds and a halt are rebuilt from
// the report, embargoes and evidence begin anew. What a trainer lists and nobody
// ordered is dropped; a seed that goes where it was not ordered is culled.
//
// A run is led by one trainer. Another takes it over when it resumes the leader's
// checkpoint, or after Config.Takeover or three report intervals of silence; until
// then it is refused by name. Whoever takes over is believed: a seed that is gone,
// or further back than it was, ends (trainer_restarted), and what is there begins
// a new life. The same holds of what a process took out by itself (removed_by_host).
// Reports of retired trainers, of numbers that were seen, and of envelopes signed too
// long before the bus took them, change nothing; an envelope that does not say when it
// was signed is held against its number alone. A report without the trainer protocol
// never changes a run that has a trainer and is never answered by an order.
//
// # Commands
//
// [Core.Verify] checks signature, identifier, freshness and deadline, Decide the
// rest. A refused command leaves no trace in the record; [RejectedError].Ours tells
// whether one of our own was refused. The same command again is acknowledged
// quietly, and so is one that was issued before the seed's last; another command
// of a known id is nonce_replayed. CULL and CANCEL of an unknown seed leave a
// tombstone, so that they hold when they overtake the germination. Orders that
// come of a command carry what is left of its deadline; one to attach does not,
// for the germination itself was in time, and neither does one that takes a seed
// out.
package kasmina
