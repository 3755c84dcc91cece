
evt_01KG8Q2Y00000000000000000Alictor.license.renewed.v1license-central"	subject-1(0:€σωΪB700-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01H›ξΪε
Ϊ
lic_01KG8Q2Y00000000000000000C›ξ	7KQ2M-β€¦"editor(©Ά08B
alc_01KG8Q2Y00000000000000000G130-4823901234 *@9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a082€σωΪ:€σωΪB130-1111111111HJ€σωΪRord_01KG8Q2Y00000000000000000BZ	Nova GmbHb€σωΪhrEditor yearlyzlic_01KG8Q2Y00000000000000000D‚€£’€σωΪ€σωΪ