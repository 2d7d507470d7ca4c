import { signal } from "@preact/signals";
import { isPlain, locale } from "./locale";

// Days and months are UTC. Times are shown in UTC, and in the reader's own zone on demand.

const MICROSECONDS = /\.(\d{3})\d*Z$/;

const moment: Intl.DateTimeFormatOptions = {
  year: "numeric",
  month: "short",
  day: "numeric",
  hour: "numeric",
  minute: "2-digit",
};
const day: Intl.DateTimeFormatOptions = { year: "numeric", month: "short", day: "numeric" };
const second: Intl.DateTimeFormatOptions = { second: "2-digit" };

type Format = (date: Date) => string;

/** On a clock of 24 hours, midnight is 00:05, not 0:05. */
function formatOf(options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const format = new Intl.DateTimeFormat(locale, options);
  const isWhole = format.resolvedOptions().hourCycle === "h23" && options.hour === "numeric";
  return isWhole ? new Intl.DateTimeFormat(locale, { ...options, hour: "2-digit" }) : format;
}

/** Made when it is first needed: each takes longer to make than to format a page of rows. */
function formatter(options: Intl.DateTimeFormatOptions): Format {
  let format: Intl.DateTimeFormat | undefined;
  return (date) => (format ??= formatOf(options)).format(date);
}

/** In UTC, by `plain` where the locale is. */
function utcFormatter(options: Intl.DateTimeFormatOptions, plain: Format): Format {
  return isPlain ? plain : formatter({ ...options, timeZone: "UTC" });
}

const MONTHS = "January,February,March,April,May,June,July,August,September,October,November,December".split(",");

const plainMonth: Format = (date) => MONTHS[date.getUTCMonth()] as string;
const plainMonthShort: Format = (date) => plainMonth(date).slice(0, 3);
const plainDay: Format = (date) => `${plainMonthShort(date)} ${date.getUTCDate()}, ${date.getUTCFullYear()}`;

function plainClock(date: Date, end: number): string {
  const hour = date.getUTCHours();
  return `${hour % 12 || 12}${date.toISOString().slice(13, end)} ${hour < 12 ? "AM" : "PM"}`;
}

const utc = utcFormatter(moment, (date) => `${plainDay(date)}, ${plainClock(date, 16)}`);
const utcSeconds = utcFormatter({ ...moment, ...second }, (date) => `${plainDay(date)}, ${plainClock(date, 19)}`);
const local = formatter({ ...moment, ...second, timeZoneName: "short" });
const clock = utcFormatter({ hour: "numeric", minute: "2-digit", ...second }, (date) => plainClock(date, 19));
const utcDay = utcFormatter(day, plainDay);
const utcMonth = utcFormatter({ year: "numeric", month: "long" }, (date) => `${plainMonth(date)} ${date.getUTCFullYear()}`);
const utcMonthShort = utcFormatter({ month: "short" }, plainMonthShort);
const utcMonthLong = utcFormatter({ month: "long" }, plainMonth);
const utcDayShort = utcFormatter({ month: "short", day: "numeric" }, (date) => `${plainMonthShort(date)} ${date.getUTCDate()}`);

/** Safari's Date takes three fraction digits. */
function dateOf(time: string): Date {
  return new Date(time.replace(MICROSECONDS, ".$1Z"));
}

export function utcText(time: string): string {
  return utc(dateOf(time));
}

export function utcSecondsText(time: string): string {
  return `${utcSeconds(dateOf(time))} UTC`;
}

export function localText(time: string): string {
  return local(dateOf(time));
}

export function clockText(date: Date): string {
  return `${clock(date)} UTC`;
}

export function dayText(day: string): string {
  return utcDay(new Date(`${day}T00:00:00Z`));
}

export function monthText(month: string): string {
  return utcMonth(new Date(`${month}-01T00:00:00Z`));
}

export function monthLabel(month: string): string {
  return utcMonthShort(new Date(`${month}-01T00:00:00Z`));
}

/** A day, or a month, without its year. */
export function axisText(period: string): string {
  return period.length === 7 ? utcMonthLong(new Date(`${period}-01T00:00:00Z`)) : utcDayShort(new Date(`${period}T00:00:00Z`));
}

const DAY = /^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$/;

/** The gateway's calendar begins with the year 1. */
export function isDay(text: string): boolean {
  return DAY.test(text) && text >= "0001" && dayAfter(text, 0) === text;
}

/** The day so many days later; "" where it has no four-digit year. */
export function dayAfter(day: string, days: number): string {
  const date = new Date(`${day}T00:00:00Z`);
  date.setUTCDate(date.getUTCDate() + days);
  const year = date.getUTCFullYear();
  return year >= 0 && year < 10_000 ? date.toISOString().slice(0, 10) : "";
}

/** How far the gateway's clock is ahead of the reader's, in milliseconds: what is "today" goes by the gateway's. */
export const aheadMs = signal(0);
/** An answer may take as long: what is less tells nothing of the clocks. */
const TOLERATED_MS = 60_000;

/** `date` is an answer's header of that name. */
export function noticeClock(date: string | null): void {
  const ahead = Date.parse(date ?? "") - Date.now();
  if (Math.abs(ahead - aheadMs.peek()) > TOLERATED_MS) aheadMs.value = ahead;
}

export function now(): Date {
  return new Date(Date.now() + aheadMs.peek());
}

export function today(): string {
  return now().toISOString().slice(0, 10);
}

const DAY_MS = 86_400_000;

/** Until the next day begins, by the gateway's clock. */
export function msToMidnight(): number {
  return DAY_MS - (now().getTime() % DAY_MS);
}

export function monthOf(day: string): string {
  return day.slice(0, 7);
}

export function lastDayOf(month: string): string {
  const [year, number] = month.split("-").map(Number);
  return new Date(Date.UTC(year as number, number as number, 0)).toISOString().slice(0, 10);
}

export function monthsBefore(month: string, count: number): string {
  const [year, number] = month.split("-").map(Number);
  return new Date(Date.UTC(year as number, (number as number) - 1 - count)).toISOString().slice(0, 7);
}

/** Every day from one to another, both included. */
export function daysBetween(from: string, to: string): string[] {
  const days = [];
  for (let day = from; day && day <= to; day = dayAfter(day, 1)) days.push(day);
  return days;
}
