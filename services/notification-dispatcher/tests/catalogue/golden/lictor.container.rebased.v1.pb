
evt_01KG8Q2Y00000000000000000Alictor.container.rebased.v1license-central"	subject-1(0:€σωΪB700-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01H›ξβf
@9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08130-4823901234"words for people