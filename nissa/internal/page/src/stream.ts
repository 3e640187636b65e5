import type { Event, Report } from "./api";

export type LinkState = "connecting" | "live" | "lost" | "resting";

export interface Follower {
  run?: string; // follows this one alone
  report(report: Report): void;
  event(event: Event): void;
  reset(): void; // too much was missed: what is shown must be loaded anew
  back(): void; // the connection was lost and is there again
}

const firstPause = 500, longestPause = 5_000, restAfter = 30_000;

// Stream follows what comes. The browser comes back by itself with the place of the last that
// it saw; what it gives up on, an answer that is an error, is tried again here from that place.
// A page that nobody sees for a while lets go, since a browser has few connections to a host.
export class Stream {
  private source: EventSource | undefined;
  private last = "";
  private pause = firstPause;
  private lost = false;
  private timer: number | undefined;
  private opened: Promise<void>;
  private open!: () => void;

  constructor(private readonly follower: Follower, private readonly told: (state: LinkState) => void) {
    this.opened = new Promise((resolve) => { this.open = resolve; });
    document.addEventListener("visibilitychange", this.seen);
    this.connect();
  }

  // ready is when nothing more is missed: soon, or not for a while.
  ready(): Promise<"soon" | "later"> {
    return Promise.race([
      this.opened.then(() => "soon" as const),
      new Promise<"later">((resolve) => window.setTimeout(resolve, 250, "later")),
    ]);
  }

  later(): Promise<void> {
    return this.opened;
  }

  close(): void {
    document.removeEventListener("visibilitychange", this.seen);
    window.clearTimeout(this.timer);
    this.source?.close();
    this.source = undefined;
  }

  private readonly seen = () => {
    window.clearTimeout(this.timer);
    if (!document.hidden) {
      if (!this.source || this.source.readyState === EventSource.CLOSED) this.connect();
      return;
    }
    this.timer = window.setTimeout(() => {
      this.source?.close();
      this.source = undefined;
      this.told("resting");
    }, restAfter);
  };

  private connect(): void {
    this.source?.close();
    const query = new URLSearchParams();
    if (this.follower.run !== undefined) query.set("run", this.follower.run);
    if (this.last) query.set("after", this.last);
    const source = new EventSource("/api/stream?" + query.toString());
    this.source = source;
    source.onopen = () => {
      this.pause = firstPause;
      this.told("live");
      this.open();
      if (this.lost) this.follower.back();
      this.lost = false;
    };
    source.onerror = () => this.failed(source);
    this.hear(source, "report", (data) => this.follower.report(data as Report));
    this.hear(source, "event", (data) => this.follower.event(data as Event));
    this.hear(source, "reset", () => this.follower.reset());
  }

  private hear(source: EventSource, kind: string, take: (data: unknown) => void): void {
    source.addEventListener(kind, (message: MessageEvent<string>) => {
      this.last = message.lastEventId;
      take(JSON.parse(message.data));
    });
  }

  private failed(source: EventSource): void {
    this.lost = true;
    this.told("lost");
    if (source.readyState !== EventSource.CLOSED || source !== this.source) return;
    this.timer = window.setTimeout(() => this.connect(), this.pause);
    this.pause = Math.min(2 * this.pause, longestPause);
  }
}
