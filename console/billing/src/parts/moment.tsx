import { t } from "../texts/spoken";
import { localText, utcText } from "../times";

/** For a time that is pointed at, or what holds times. */
export function showLocal({ target }: MouseEvent): void {
  if (target instanceof HTMLTimeElement) target.title = t.yourTime(localText(target.dateTime));
}

/** A time in UTC; in the reader's own zone when it is pointed at. Lists call it as a function, as they do `money`. */
export function moment(at: string) {
  return (
    <time dateTime={at} onMouseEnter={showLocal}>
      {utcText(at)}
    </time>
  );
}
