import type { Event, Report } from "./api";

// Page is one view. Its element is shown while it is open; what is streamed of the run that
// it is about, or of all, is told to it.
export interface Page {
  title: string;
  element: HTMLElement;
  run?: string;
  load(): Promise<void>; // anew, whatever it shows
  report?(report: Report): void;
  event?(event: Event): void;
  close?(): void;
}

export const link = {
  runs: "#/",
  run: (run: string) => `#/runs/${encodeURIComponent(run)}`,
  seed: (run: string, seed: string) => `#/runs/${encodeURIComponent(run)}/seeds/${encodeURIComponent(seed)}`,
};
