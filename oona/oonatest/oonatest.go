// Package oonatest holds what every bus must do for package oona, as one suite
// that runs on Redis and on the embedded broker alike.
package oonatest

import "testing"

// Features says what a bus promises beyond the suite. It is the honest list of
// what a user gets from it.
type Features struct {
	AnswersOnce  bool // answers, mark and acknowledgement are one commit: no entry is ever answered twice
	Durable      bool // survives Kill and Restart with its data
	GuardedClaim bool // XCLAIM honours its idle guard
	CountsLag    bool // XINFO GROUPS counts the lag of a group
	TellsIdle    bool // XINFO CONSUMERS tells since when a consumer is silent
	Skips        bool // XGROUP SETID moves a group past what nobody waits for
}

// Server is a running bus.
type Server struct {
	URL     string
	Admin   string // address for what the tests do themselves, where the one above may do less [URL]
	Restart func() // ends it without warning and starts it again; nil when it cannot
}

// Run holds a bus to the suite. newServer starts an empty one for each test.
func Run(t *testing.T, features Features, newServer func(t *testing.T) Server) {
	t.Helper()
	for _, test := range suite {
		if test.needs != nil && !test.needs(features) {
			continue
		}
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := newBus(t, newServer(t))
			b.features = features
			test.run(t, b)
		})
	}
}

type conformanceTest struct {
	name  string
	needs func(Features) bool
	run   func(t *testing.T, b *bus)
}

func answersOnce(f Features) bool { return f.AnswersOnce }
func durable(f Features) bool     { return f.Durable }
func countsLag(f Features) bool   { return f.CountsLag }
func tellsIdle(f Features) bool   { return f.TellsIdle }
func skips(f Features) bool       { return f.Skips }

var suite = []conformanceTest{
	{"EnvelopeOfThePrototypeIsUnderstood", nil, testGoldenVectors},
	{"PublishedEntryHasThePrototypesForm", nil, testEntryForm},
	{"EveryTypeArrivesByItsTypedMethod", nil, testEveryType},
	{"WhatWasPublishedBeforeTheFirstStartIsDelivered", nil, testHistory},
	{"OneMalformedEntryDoesNotStallTheBatch", nil, testPoison},
	{"RefusedEntryCanBeInspectedWithItsOrigin", nil, testDeadLetterFields},
	{"BootstrapEntryNeverReachesAHandler", nil, testBootstrap},
	{"CatalogUpdateIsNotParsedAsReady", nil, testDispatchByType},
	{"EmergencyStreamCarriesWhatPeersDivert", nil, testEmergencyStream},
	{"EntryMovedToAnotherStreamIsRefused", nil, testForeignStream},
	{"OldFutureAndNamelessRequestsAreRefused", nil, testFreshness},
	{"ReadyAfterErrorOfTheSameRequestIsStillAnAnswer", nil, testSpaces},
	{"ReplayIsRefusedAlsoAfterRestart", nil, testReplay},
	{"OldAnswerCannotBeReplayedOnceItsMarkIsGone", nil, testOldAnswer},
	{"AnswersOfPrototypePeersAreTakenAndRememberedForLong", nil, testAnswersOfPrototype},
	{"AnswerIsNotMissedByAReaderThatRests", nil, testRestingReaderMissesNoAnswer},
	{"AnswersAreNotReadWhileNobodyWaits", skips, testNobodyWaits},
	{"AnswersAreReadWhileSomebodyElseWaits", skips, testSomebodyElseWaits},
	{"UnlikeOutcomesOfOneCommitAreEachSettledTheirOwnWay", nil, testUnlikeOutcomes},
	{"SameRequestTwiceInOneBatchIsAnsweredOnce", nil, testSameBatch},
	{"RetriedRequestIsNotItsOwnReplay", nil, testRetryIsNoReplay},
	{"RetriedAnswerIsNotItsOwnReplay", nil, testRetriedAnswerIsNoReplay},
	{"RetryInOneGroupIsInvisibleToAnother", nil, testGroupsApart},
	{"RetriesWaitBetweenAttempts", nil, testBackoff},
	{"ExhaustedAndPermanentFailuresAreKept", nil, testGivingUp},
	{"PanickingHandlerDoesNotEndTheConsumer", nil, testPanic},
	{"WorkOfACrashedConsumerIsTakenOver", nil, testClaim},
	{"OwnPendingEntriesComeFirstAfterARestart", nil, testOwnPending},
	{"EntryThatKillsItsProcessIsGivenUp", nil, testCrashLoop},
	{"ManyKillsOfItsConsumerDoNotExhaustAGoodEntry", nil, testManyKills},
	{"KillsAreNotCountedAsFailuresOfTheHandler", nil, testManyKillsThenErrors},
	{"EntryThatKillsItsProcessDoesNotTakeOthersAlong", nil, testPoisonAmongOthers},
	{"EntryOwnedTwiceIsAnsweredOnce", answersOnce, testOwnedTwice},
	{"SlowHandlerIsNotTakenForDead", nil, testLease},
	{"AnswerThatCannotBeStoredIsNotLost", nil, testUnstorable},
	{"AbandonedHandlerAnswersOnce", answersOnce, testAbandoned},
	{"EntryDeletedWhilePendingIsLetGo", nil, testDeletedPending},
	{"StopFinishesWhatWasRead", nil, testDrain},
	{"StopIsPromptWhileABlockedReadWaits", nil, testPromptStop},
	{"ConsumerHealsAfterFlush", nil, testFlush},
	{"FullStreamShedsByPriorityAndNeverTripsTheBreaker", nil, testPressure},
	{"DeadGroupDoesNotShutOutPublishers", nil, testUnreadGroup},
	{"SteadyTrafficIsNotTakenForABacklog", nil, testSteadyTrafficIsNoBacklog},
	{"EveryStreamIsBounded", nil, testEveryStreamIsBounded},
	{"EmergencyDivertsNothingElse", nil, testEmergencyDivertsNothing},
	{"FailingHandlersDoNotStopPublishing", nil, testFailingHandlersDoNotStopPublishing},
	{"AttemptAttributeOfAPeerBreaksNothing", nil, testAttemptAttribute},
	{"InventedSourcesDoNotFillTheMemory", nil, testSourcesAreBounded},
	{"EmergencyBudgetIsShownRefilled", nil, testBudgetRefillsByItself},
	{"TrimKeepsWhatAGroupHasNotRead", nil, testTrim},
	{"MetricsNameEveryFigure", nil, testMetrics},
	{"DeadLettersAreListedInPages", nil, testDeadLettersListed},
	{"DeadLetterIsReplayedOnceAndForItsGroupOnly", nil, testDeadLetterReplay},
	{"DeadLetterReplayedByTwoOperatorsGoesOutOnce", nil, testDeadLetterReplayRace},
	{"ReplayedRequestIsNotTakenForStale", nil, testDeadLetterReplayOfOldRequest},
	{"ReplayNeverSignsAForgery", nil, testDeadLetterForgery},
	{"DeadLettersArePurgedByIdAndByAge", nil, testDeadLetterPurge},
	{"StrictTrustRefusesUnboundEnvelopes", nil, testStrictTrust},
	{"OldHaltSignalCannotBeReplayed", nil, testControlReplay},
	{"ControlMessagesOfPrototypePeersAreTaken", nil, testControlOfPrototype},
	{"CommandThatWaitedForItsConsumerIsNotStale", nil, testWaitingCommandDoesNotAge},
	{"SecretsRotateUnderLoadWithoutARefusal", nil, testRotation},
	{"MessagePublishedTwiceUnderOneNameIsHandledOnce", nil, testOnce},
	{"MessagesOfOneKeyStayInOrder", nil, testOrderPerKey},
	{"SlowKeyDoesNotHoldUpTheOthers", nil, testKeysRunBesideEachOther},
	{"GivenUpEntryFreesItsKey", nil, testGivenUpEntryFreesItsKey},
	{"OrderSurvivesAStopDuringARetry", nil, testOrderSurvivesAStop},
	{"RealSignalsHaveAReservedShareOfTheBudget", nil, testReservedShare},
	{"SilentConsumerGoesOnlyWhenItOwnsNothing", tellsIdle, testPrune},
	{"UnreadEntriesThatTheBoundRemovedAreCounted", countsLag, testTrimmedUnread},
	{"WholePathIsTimedByStream", nil, testHistograms},
	{"AcknowledgedSurvivesAKill", durable, testKill},
	{"RecordIsReadAsItWasWritten", nil, testRecordIsReadAsItWasWritten},
	{"RecordOfAnotherVersionIsAConflict", nil, testRecordOfAnotherVersionIsAConflict},
	{"RecordThatBeginsAnewHasAnotherVersion", nil, testRecordThatBeginsAnew},
	{"RecordAndOrdersAreOneStep", nil, testRecordAndOrdersAreOneStep},
	{"RecordsAreBounded", nil, testRecordsAreBounded},
	{"RecordsInARaceLoseNothing", nil, testRecordsInARace},
	{"RecordsAndOrdersSurviveAKill", durable, testRecordsSurviveAKill},
	{"DueRunsAreClaimedOnce", nil, testDueRuns},
	{"ClaimIsEndedByItsHolderOnly", nil, testClaimIsEndedByItsHolderOnly},
	{"RunScheduledWhileItIsClaimedStaysDue", nil, testScheduledWhileClaimed},
	{"DueRunsInARaceAreClaimedOnce", nil, testDueRunsInARace},
	{"RunIsDueWithItsRecord", nil, testRunIsDueWithItsRecord},
	{"RunsAreListedInPages", nil, testRunsAreListedInPages},
	{"OrdersAreFollowedFromTheBeginning", nil, testOrdersAreFollowed},
	{"OrdersAreFollowedAfterAFlush", nil, testOrdersAfterAFlush},
	{"OrdersAreFollowedAfterARestart", durable, testOrdersAfterARestart},
	{"ForgedOrdersAreDroppedAndCounted", nil, testForgedOrdersAreDropped},
	{"CapturedReportIsTold", nil, testCapturedReportIsTold},
	{"ClockIsThatOfTheBus", nil, testClockIsThatOfTheBus},
}
