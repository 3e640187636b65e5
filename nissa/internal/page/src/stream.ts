import { authorization, type Event, type Report } from "./api";

export type LinkState = "connecting" | "live" | "lost" | "resting" | "locked";

export interface Follower {
  run?: string; // follows this one alone
  report(report: Report): void;
  event(event: Event): void;
  reset(): void; // too much was missed: what is shown must be loaded anew
  back(): void; // the connection was lost and is there again
}

const firstPause = 500, longestPause = 5_000, restAfter = 30_000;

// deadAfter is for how long nothing comes of a connection that lives: Nissa says each 15 s that it does.
const deadAfter = 40_000;

interface Message { id: string; kind: string; data: string }

// messages reads server-sent events. The browser's own reader cannot send a token.
async function* messages(body: ReadableStream<Uint8Array>): AsyncGenerator<Message> {
  const reader = body.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop()!;
    for (const block of blocks) yield messageOf(block);
  }
}

function messageOf(block: string): Message {
  const message: Message = { id: "", kind: "", data: "" };
  for (const line of block.split("\n")) {
    if (line.startsWith("id: ")) message.id = line.slice(4);
    if (line.startsWith("event: ")) message.kind = line.slice(7);
    if (line.startsWith("data: ")) message.data += line.slice(6);
  }
  return message;
}

// Stream follows what comes, and comes back by itself with the place of the last that it saw.
// A page that nobody sees for a while lets go, since a browser has few connections to a host.
export class Stream {
  private current: AbortController | undefined;
  private last = "";
  private pause = firstPause;
  private lost = false;
  private timer: number | undefined;
  private opened: Promise<void>;
  private open!: () => void;

  constructor(private readonly follower: Follower, private readonly told: (state: LinkState) => void) {
    this.opened = new Promise((resolve) => { this.open = resolve; });
    document.addEventListener("visibilitychange", this.seen);
    void this.connect();
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
    this.letGo();
  }

  private letGo(): void {
    window.clearTimeout(this.timer);
    this.current?.abort();
    this.current = undefined;
  }

  private readonly seen = () => {
    if (!document.hidden) {
      window.clearTimeout(this.timer);
      if (!this.current) void this.connect();
      return;
    }
    this.timer = window.setTimeout(() => {
      this.letGo();
      this.told("resting");
    }, restAfter);
  };

  private async connect(): Promise<void> {
    this.letGo();
    const controller = new AbortController();
    this.current = controller;
    let silence: number | undefined;
    const heard = () => {
      window.clearTimeout(silence);
      silence = window.setTimeout(() => controller.abort(), deadAfter);
    };
    heard();
    const query = new URLSearchParams();
    if (this.follower.run !== undefined) query.set("run", this.follower.run);
    if (this.last) query.set("after", this.last);
    try {
      const response = await fetch("/api/stream?" + query.toString(), {
        headers: { Accept: "text/event-stream", ...authorization() }, cache: "no-store", signal: controller.signal,
      });
      if (response.status === 401) {
        this.told("locked");
        return;
      }
      if (response.ok && response.body) {
        this.began();
        for await (const message of messages(response.body)) {
          if (controller.signal.aborted) break;
          heard();
          this.hear(message);
        }
      }
    } catch {
      // the connection is gone
    }
    window.clearTimeout(silence);
    if (this.current === controller) this.failed();
  }

  private began(): void {
    this.pause = firstPause;
    this.told("live");
    this.open();
    if (this.lost) this.follower.back();
    this.lost = false;
  }

  private hear({ id, kind, data }: Message): void {
    if (id) this.last = id;
    if (kind === "report") this.follower.report(JSON.parse(data) as Report);
    if (kind === "event") this.follower.event(JSON.parse(data) as Event);
    if (kind === "reset") this.follower.reset();
  }

  private failed(): void {
    this.current = undefined;
    this.lost = true;
    this.told("lost");
    this.timer = window.setTimeout(() => void this.connect(), this.pause);
    this.pause = Math.min(2 * this.pause, longestPause);
  }
}
