import { address } from "../navigation";
import { t } from "../texts/spoken";

/** What the address asks for and the gateway would refuse. */
export function LeftOut() {
  const { leftOut } = address.value;
  if (leftOut.length === 0) return null;
  return (
    <div class="leftout error" role="alert">
      <p>{t.leftOut}</p>
      <ul>
        {leftOut.map((one) => (
          <li key={one}>{one}</li>
        ))}
      </ul>
    </div>
  );
}
